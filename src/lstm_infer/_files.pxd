"""Files: mapped, and held against checksums. In place of two modules of the standard library, each of which takes
longer to import than a model to start."""

from libc.stdint cimport uint32_t

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #include <string.h>
    #if !defined(_WIN32)
    #include <sys/mman.h>
    #include <sys/stat.h>
    #endif

    /* All bytes of a file, for reading; null: it has none, is no file, or Python's own module does it (on Windows). */
    CYTHON_UNUSED static void *li_map(int file, size_t *n_bytes)
    {
    #if defined(_WIN32)
        (void)file; (void)n_bytes;
        return NULL;
    #else
        struct stat found;
        void *at;
        if (fstat(file, &found) || !S_ISREG(found.st_mode) || found.st_size <= 0)
            return NULL;
        *n_bytes = (size_t)found.st_size;
        at = mmap(NULL, *n_bytes, PROT_READ, MAP_SHARED, file, 0);
        return at == MAP_FAILED ? NULL : at;
    #endif
    }

    CYTHON_UNUSED static void li_unmap(void *at, size_t n_bytes)
    {
    #if !defined(_WIN32)
        munmap(at, n_bytes);
    #else
        (void)at; (void)n_bytes;
    #endif
    }

    /* The CRC-32 of zlib, eight bytes at a time. The table is filled when the module is made. */
    static uint32_t li_crc_table[8][256];

    CYTHON_UNUSED static void li_crc_begin(void)
    {
        uint32_t i, k;
        for (i = 0; i < 256; i++) {
            uint32_t c = i;
            for (k = 0; k < 8; k++)
                c = c >> 1 ^ (0xEDB88320u & (0u - (c & 1)));
            li_crc_table[0][i] = c;
        }
        for (i = 0; i < 256; i++)
            for (k = 1; k < 8; k++)
                li_crc_table[k][i] = li_crc_table[k - 1][i] >> 8 ^ li_crc_table[0][li_crc_table[k - 1][i] & 255];
    }

    CYTHON_UNUSED static uint32_t li_crc32(const unsigned char *data, size_t n_bytes)
    {
        uint32_t c = 0xFFFFFFFFu;
        for (; n_bytes >= 8; data += 8, n_bytes -= 8) {
            uint32_t a = (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
            a ^= c;
            c = li_crc_table[7][a & 255] ^ li_crc_table[6][a >> 8 & 255] ^ li_crc_table[5][a >> 16 & 255]
                ^ li_crc_table[4][a >> 24] ^ li_crc_table[3][data[4]] ^ li_crc_table[2][data[5]]
                ^ li_crc_table[1][data[6]] ^ li_crc_table[0][data[7]];
        }
        for (; n_bytes; data++, n_bytes--)
            c = c >> 8 ^ li_crc_table[0][(c ^ *data) & 255];
        return ~c;
    }
    """
    void *li_map(int file, size_t *n_bytes) noexcept nogil
    void li_unmap(void *at, size_t n_bytes) noexcept nogil
    void li_crc_begin() noexcept nogil
    uint32_t li_crc32(const unsigned char *data, size_t n_bytes) noexcept nogil
