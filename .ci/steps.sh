# The steps of .ci/run, one function each. Sourced; every step runs under `set -euo pipefail`.
# shellcheck shell=bash

# The pip of this Python installs into environments that need none of their own, which takes seconds each to make.
pip_install() { # venv, what ...
    local venv=$1
    shift
    [[ -x $venv/bin/python ]] || "$PYTHON" -m venv --without-pip "$venv"
    "$USER_PYTHON" -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check "$@"
}

# An environment that has the package as the user has it; what is installed into it comes before what the user has.
beside_user() { # venv, what ...
    "$PYTHON" -m venv --without-pip "$1"
    "$USER_PYTHON" -c 'import site; print(site.getsitepackages()[0])' >"$(echo "$1"/lib/python*/site-packages)/user.pth"
    pip_install "$@"
}

dev_tools() { pip_install "$WORK/dev" 'setuptools>=77' 'cython>=3.1' 'numpy>=2' wheel build "$@"; }

# A copy of the tree to build in, so that builds do not meet.
copy_tree() {
    mkdir -p "$1"
    git ls-files -z | tar -c --null --files-from=- | tar -x -C "$1"
}

# ---- Debian's packages, and a root of another architecture for the emulator ----

step_packages() {
    local wanted=(binutils gcc g++ make libc6-dev clang valgrind gcc-mingw-w64-x86-64-win32 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static debootstrap)
    if ! dpkg --status "${wanted[@]}" >/dev/null 2>&1; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
    fi
    bash wheels/make_arm_root.sh "$WORK/arm64" >"$WORK/log/debootstrap" 2>&1 || { tail "$WORK/log/debootstrap"; return 1; }
    ls "$WORK"/arm64/usr/bin/python3.11
}

# ---- 1. the two commands of the README, in a new environment ----

step_install() {
    grep -qxF 'pip install . && lstm-infer demo' README.md
    grep -qxF "pip install '.[test]' && pytest" README.md
    "$PYTHON" -m venv "$WORK/user"
    dev_tools # of the steps behind, which run side by side
    ln -s "$("$DEV_PYTHON" -c 'import numpy; print(numpy.get_include())')" "$NUMPY_HEADERS"
    export PATH=$WORK/user/bin:$PATH
    pip install . && (cd "$WORK/scratch" && lstm-infer demo)
    ls -l "$WORK/scratch"/*.wav
}

step_tests() {
    export PATH=$WORK/user/bin:$PATH
    pip install '.[test]' && pytest
}

# ---- 2. the same from the sdist: what the manifest forgot shows here ----

step_sdist() {
    dev_tools
    copy_tree "$WORK/sdist_tree"
    (cd "$WORK/sdist_tree" && "$DEV_PYTHON" -m build --sdist --no-isolation --outdir "$WORK/sdist" . >"$WORK/log/build" 2>&1) ||
        { tail -n 20 "$WORK/log/build"; return 1; }
    local sdist=("$WORK"/sdist/*.tar.gz)
    tar -xzf "${sdist[0]}" -C "$WORK/sdist" && rm -rf "$WORK/sdist_tree"
    local unpacked=("$WORK"/sdist/*/)
    "$DEV_PYTHON" .ci/check_contents.py sdist "${unpacked[0]}"

    (cd "${unpacked[0]}" && "$DEV_PYTHON" -m build --wheel --no-isolation --outdir "$WORK/sdist_wheel" . >"$WORK/log/build" 2>&1) ||
        { tail -n 20 "$WORK/log/build"; return 1; }
    pip_install "$WORK/from_sdist" "lstm_infer[test] @ file://$(echo "$WORK"/sdist_wheel/*.whl)"
    "$DEV_PYTHON" .ci/check_contents.py installed "$WORK"/from_sdist/lib/python*/site-packages
    (cd "$WORK/scratch" && "$WORK/from_sdist/bin/lstm-infer" demo)
    cd "${unpacked[0]}" # every file of the package and of the tests is there: what they do, step tests has seen
    "$WORK/from_sdist/bin/python" -m pytest tests/test_core.py tests/test_build.py tests/stream/test_kept_snapshots.py
}

# ---- 3. linters and types ----

step_lint() {
    dev_tools ruff mypy cython-lint onnx check-jsonschema
    export PATH=$WORK/dev/bin:$PATH # cython-lint calls pycodestyle by name
    local failed=0 # all are shown, whichever fails
    ruff check --output-format concise . || failed=1
    ruff format --check . || failed=1
    mypy --strict src || failed=1
    cython-lint src || failed=1
    # a user's script and what is revealed in it: pytest and the package as the user has them, mypy from here
    PYTHONPATH=$("$USER_PYTHON" -c 'import site; print(site.getsitepackages()[0])') \
        "$WORK/dev/bin/python" -m pytest tests/typing || failed=1
    check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml || failed=1
    return $failed
}

# ---- models of frameworks: from_torch, from_keras and the exporters of the day; a server on a pool; elsewhere these tests skip ----

step_frameworks() {
    local python=$WORK/frameworks/bin/python
    beside_user "$WORK/frameworks" torch==2.13.0 onnxscript keras 'picows>=2' uvloop
    KERAS_BACKEND=torch "$python" -m pytest tests/doors tests/test_readme.py tests/recognise/test_cells.py tests/stream/test_one_step_read.py tests/examples/test_training.py tests/test_serve_vad.py
}

# ---- the oldest numpy and onnx that pyproject.toml allows, under the package as the user has it ----

step_oldest() {
    local python=$WORK/oldest/bin/python oldest
    oldest=$("$PYTHON" -c '
import tomllib
for need in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]:
    print(need.replace(">=", "==") + ".0")')
    # shellcheck disable=SC2086
    beside_user "$WORK/oldest" --no-deps --only-binary=:all: $oldest
    "$python" - $oldest <<'END'
import sys
from importlib.metadata import version
for need in sys.argv[1:]:
    name, _, wanted = need.partition("==")
    assert version(name) == __import__(name).__version__ == wanted, (name, __import__(name).__version__)
    print(need)
END
    (cd "$WORK/scratch" && "$python" -m lstm_infer demo --no-plot)
    "$python" -m pytest tests/test_core.py tests/test_call.py tests/importer/test_opsets.py tests/importer/test_files.py tests/stream/test_kept_snapshots.py tests/native/test_kept_files.py
}

# ---- tables by key, and Ray over them; elsewhere these tests skip ----

step_tables() {
    local python=$WORK/tables/bin/python
    beside_user "$WORK/tables" 'pyarrow>=18' 'ray[data]>=2.9'
    "$python" -m pytest tests/keyed
    "$python" -m benchmarks.keyed --quick
}

# ---- native files where NumPy and the package are all that is installed; how long a start takes is shown, not judged ----

step_bare() {
    pip_install "$WORK/bare" 'numpy>=2'
    local site python=$WORK/bare/bin/python files=(tests/zoo/files/{ts_scripted_peephole,dyn_causal_conv_lstm,dyn_learned_state}.onnx)
    site=$("$python" -c 'import site; print(site.getsitepackages()[0])')
    cp -r "$("$USER_PYTHON" -c 'import site; print(site.getsitepackages()[0])')/lstm_infer" "$site"
    [[ $FILES == no ]] || files+=("$LSTM_INFER_MODELS"/{silero_vad,gtcrn_stream_simple}.onnx)
    "$USER_PYTHON" tools/without_onnx.py write "$WORK/bare/files" "${files[@]}"
    "$python" tools/without_onnx.py run "$WORK/bare/files"
    "$python" benchmarks/start.py "$WORK"/bare/files/*.lsi
}

# ---- the site, warnings are errors ----

step_docs() {
    beside_user "$WORK/site_tools" 'pyarrow>=18' 'sphinx>=8' furo 'myst-parser>=4' numpydoc sphinx-copybutton sphinx-gallery 'matplotlib>=3.8'
    "$WORK/site_tools/bin/python" -m sphinx -q -W --keep-going -b html docs "$WORK/site"
    du -sh "$WORK/site"
}

# ---- 4. every set that this CPU runs, forced in turn; the fused ones give the same bits in processes of their own ----

CORE=(tests/test_core.py tests/test_call.py tests/ops tests/stream tests/crosscheck)
# What neither a set nor a sanitizer changes: what a script writes, far windows that the analysis follows, a new process each.
ALIKE=(--deselect tests/kernels/test_activations.py::test_coefficients_are_what_the_script_writes
    --deselect tests/stream/test_phases.py::test_far_ahead
    --deselect tests/stream/test_snapshots_by_name.py::test_another_process_goes_on_from_it)

list_isas() { "$USER_PYTHON" -c 'from lstm_infer import _core; print(*(n for n, ok in _core.list_isas() if ok))'; }

step_isas() {
    local isa picked few first= failed=0 # every set is tried, whichever fails
    "$USER_PYTHON" -c 'import lstm_infer; print(lstm_infer.show_isa())'
    picked=$("$USER_PYTHON" -c 'import lstm_infer; from lstm_infer.cli.demo.show import MODEL; print(lstm_infer.load(MODEL).isa)')
    for isa in $(list_isas); do
        echo "-- $isa"
        LSTM_INFER_ISA=$isa "$USER_PYTHON" -c "
import lstm_infer; from lstm_infer.cli.demo.show import MODEL
ran = lstm_infer.load(MODEL).isa
assert ran == '$isa', ran"
        if [[ $picked == "$isa"* ]]; then # avx512 lends avx512vnni all but the slots of bytes, which tests/kernels runs for both
            echo "step tests ran with it"
        else # signals between lines of Python know no set; recurrent cases of a fused set are those of the one that is picked
            few=()
            [[ $isa == scalar || $picked == scalar ]] || few=(--ignore tests/crosscheck/test_recurrent.py)
            [[ $isa != scalar || ${LSTM_INFER_LONG:-} ]] || few=(--deselect tests/stream) # which tests/kernels tests
            LSTM_INFER_ISA=$isa "$USER_PYTHON" -m pytest "${CORE[@]}" "${ALIKE[@]}" "${few[@]}" --ignore tests/stream/test_stopped_anywhere.py || failed=1
        fi
        [[ $isa != scalar && $FILES == yes ]] || continue
        LSTM_INFER_ISA=$isa "$USER_PYTHON" tools/hash_outputs.py >"$WORK/hash_$isa" || failed=1
        echo "$isa: $(wc -l <"$WORK/hash_$isa") hashes of outputs, $(sha256sum <"$WORK/hash_$isa" | cut -c 1-16) over all"
        first=${first:-$isa}
        diff "$WORK/hash_$first" "$WORK/hash_$isa" || failed=1
    done
    return $failed
}

# ---- 5. neon under an emulator: kernels as a C program, then the package under an Arm Python ----

HASH_SOURCES="tests/kernels/matrix_hash.c kernels/scratch.c kernels/pack.c"
HASH_FLAGS="-std=c11 -O2 -static -ffp-contract=off -Ikernels"

step_neon() {
    # shellcheck disable=SC2086
    aarch64-linux-gnu-gcc $HASH_FLAGS -DLI_ISA_neon -DISA=neon -c kernels/isa/neon.c -o "$WORK/lender.o"
    # shellcheck disable=SC2086
    aarch64-linux-gnu-gcc $HASH_FLAGS -DLI_ISA_neon -DISA=neon $HASH_SOURCES "$WORK/lender.o" -o "$WORK/hash_neon.bin"
    qemu-aarch64-static "$WORK/hash_neon.bin" >"$WORK/c_neon"
    # shellcheck disable=SC2086
    gcc $HASH_FLAGS -mavx2 -mfma -mf16c -DLI_ISA_avx2 -DISA=avx2 $HASH_SOURCES kernels/isa/avx2.c -o "$WORK/hash_avx2.bin"
    "$WORK/hash_avx2.bin" >"$WORK/c_avx2"
    diff "$WORK/c_avx2" "$WORK/c_neon"
    # shellcheck disable=SC2086
    aarch64-linux-gnu-gcc $HASH_FLAGS -march=armv8.2-a+dotprod -DLI_ISA_neon -DLI_ISA_neondot -DISA=neondot $HASH_SOURCES \
        kernels/isa/neondot.c "$WORK/lender.o" -o "$WORK/hash_neondot.bin"
    QEMU_CPU=max qemu-aarch64-static "$WORK/hash_neondot.bin" >"$WORK/c_neondot"
    diff "$WORK/c_avx2" "$WORK/c_neondot"
    echo "C program: $(wc -l <"$WORK/c_neon") hashes of matrix slots equal on avx2, neon and neondot"

    local wheels=$WORK/arm64_wheel packages=$WORK/arm64_packages
    copy_tree "$WORK/arm64_tree"
    (cd "$WORK/arm64_tree" && CC=aarch64-linux-gnu-gcc LDSHARED="aarch64-linux-gnu-gcc -shared" \
        _PYTHON_HOST_PLATFORM=linux-aarch64 SETUPTOOLS_EXT_SUFFIX=.cpython-311-aarch64-linux-gnu.so \
        "$DEV_PYTHON" -m build --wheel --no-isolation --outdir "$wheels" . >"$WORK/log/arm64_build" 2>&1) ||
        { tail -n 20 "$WORK/log/arm64_build"; return 1; }
    "$USER_PYTHON" -m pip install --quiet --disable-pip-version-check --target "$packages" --no-deps --only-binary=:all: \
        --platform linux_aarch64 --platform manylinux2014_aarch64 --platform manylinux_2_27_aarch64 \
        --platform manylinux_2_28_aarch64 --python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none \
        'numpy>=2' onnx protobuf ml_dtypes typing_extensions \
        pytest iniconfig packaging pluggy pygments hypothesis sortedcontainers attrs "$wheels"/*.whl
    arm() {
        PYTHONPATH=$packages LSTM_INFER_ISA=neon QEMU_CPU=cortex-a72 \
            qemu-aarch64-static -L "$WORK/arm64" "$WORK/arm64/usr/bin/python3.11" "$@"
    }
    arm -c 'import lstm_infer; print(lstm_infer.show_isa())'
    local seen=(--ignore tests/kernels/test_int8.py --ignore tests/kernels/test_matrix.py) # the C program has seen these slots
    [[ -z ${LSTM_INFER_LONG:-} ]] || seen=()
    arm -m pytest "${ALIKE[@]}" "${seen[@]}" tests/kernels tests/test_core.py tests/test_call.py tests/stream/test_kept_snapshots.py
    if [[ $FILES == yes ]]; then
        arm tools/hash_outputs.py --few >"$WORK/few_neon"
        LSTM_INFER_ISA=avx2 "$USER_PYTHON" tools/hash_outputs.py --few >"$WORK/few_avx2"
        diff "$WORK/few_avx2" "$WORK/few_neon"
        echo "package: $(wc -l <"$WORK/few_neon") hashes of outputs equal on avx2 and neon"
    fi
}

# ---- 6. older CPUs under an emulator: a stray instruction ends the process ----

step_oldcpus() {
    local packages binary cpu isa more=
    [[ -z ${LSTM_INFER_LONG:-} ]] || more="tests/test_call.py tests/kernels"
    packages=$("$USER_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
    binary=$("$USER_PYTHON" -c 'import sys, os; print(os.path.realpath(sys.executable))')
    while read -r cpu isa tests; do
        echo "-- $cpu: $isa"
        old() {
            PYTHONPATH=$packages OPENBLAS_CORETYPE=Nehalem qemu-x86_64-static -cpu "$cpu" "$binary" "$@" \
                </dev/null 2> >(grep -v "TCG doesn't support" >&2)
        }
        old -c "
import lstm_infer; from lstm_infer.cli.demo.show import MODEL
print(lstm_infer.show_isa())
ran = lstm_infer.load(MODEL).isa
assert ran == '$isa', ran"
        # shellcheck disable=SC2086
        old -m pytest $tests
        if [[ $isa == avx2 && $FILES == yes ]]; then
            LSTM_INFER_ISA=$isa old tools/hash_outputs.py --few >"$WORK/few_$cpu"
            LSTM_INFER_ISA=avx2 "$USER_PYTHON" tools/hash_outputs.py --few | diff - "$WORK/few_$cpu"
            echo "$cpu: the same bits as on this CPU"
        fi
    done <<<"Nehalem scalar tests/test_core.py ${more:-tests/kernels/test_move.py}
SandyBridge scalar tests/test_core.py
Haswell avx2 tests/test_core.py ${more:-tests/kernels/test_reduce.py}"
}

# ---- 7. gcc and clang without a warning, and with the same bits ----

step_compilers() {
    local compiler lib
    local -A command=([gcc]=${CC:-gcc} [clang]="${CC:+ccache }clang")
    for compiler in gcc clang; do
        copy_tree "$WORK/$compiler"
        (cd "$WORK/$compiler" && CC=${command[$compiler]} LDSHARED="$compiler -shared" "$DEV_PYTHON" setup.py build >"$WORK/log/$compiler" 2>&1) ||
            { tail -n 20 "$WORK/log/$compiler"; return 1; }
        grep -c -- '-Wall -Wextra' "$WORK/log/$compiler" >/dev/null
        if grep ': warning: ' "$WORK/log/$compiler"; then
            echo "$compiler warns; see above"
            return 1
        fi
        lib=$(echo "$WORK/$compiler"/build/lib.*)
        if [[ $FILES == yes ]]; then
            PYTHONPATH=$lib LSTM_INFER_ISA=avx2 "$USER_PYTHON" tools/hash_outputs.py --few >"$WORK/few_$compiler"
        fi
        echo "$compiler: no warning"
    done
    [[ $FILES == no ]] || diff "$WORK/few_gcc" "$WORK/few_clang"
    "$DEV_PYTHON" wheels/compile_elsewhere.py --short --only mingw_x86_64
}

# ---- 8. sanitizers ----

step_sanitize() {
    copy_tree "$WORK/sanitized"
    cd "$WORK/sanitized"
    local isa # the best that lends: the bodies are those of the others, and each takes minutes to build so
    isa=$("$USER_PYTHON" -c 'from lstm_infer import _core; print(next(n for n, ok in _core.list_isas() if ok and n in ("avx512", "avx2", "neon", "scalar")))')
    # alignment is left out: inputs may lie at any byte (li_kernels.h), and the bodies load such floats as floats;
    # a call for each access, and functions without lines, compile in a fourth of the time (docs/testing.md has lines)
    CC=gcc CFLAGS="-O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize=alignment -fno-sanitize-recover=undefined --param asan-instrumentation-with-call-threshold=0" \
        LDFLAGS="-fsanitize=address,undefined" LSTM_INFER_BUILD_ISAS=scalar,$isa "$DEV_PYTHON" setup.py build_ext --inplace >"$WORK/log/sanitized_build" 2>&1 ||
        { tail -n 20 "$WORK/log/sanitized_build"; return 1; }
    sanitized() {
        env ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
            PYTHONMALLOC=malloc PYTHONPATH=src "$USER_PYTHON" "$@"
    }
    local tests=(tests/kernels tests/ops/test_read_once.py tests/test_core.py tests/test_call.py tests/test_keys.py)
    if [[ ${LSTM_INFER_LONG:-} ]]; then tests+=(tests/stream tests/pool); else tests+=(tests/stream/test_{stream,snapshots,flush,failed_call}.py); fi
    sanitized -m pytest -s "${ALIKE[@]}" "${tests[@]}" # -s: pytest would swallow the report
    sanitized tools/fuzz_snapshot.py --n 2500 --seed "${LSTM_INFER_SEED:-1}"
    sanitized tools/fuzz_plans.py --n 4000 --seed "${LSTM_INFER_SEED:-1}"
}

# ---- 9. broken files ----

step_fuzz() {
    "$USER_PYTHON" tools/fuzz_snapshot.py --n 10000 --seed "${LSTM_INFER_SEED:-1}"
    "$USER_PYTHON" tools/fuzz_plans.py --n 10000 --seed "${LSTM_INFER_SEED:-1}"
    "$USER_PYTHON" tools/fuzz_bombs.py --short --seed "${LSTM_INFER_SEED:-1}"
    [[ $FILES == yes ]] || { echo "no files to start from"; return 0; }
    "$USER_PYTHON" tools/fuzz_import.py --n 3000 --seed "${LSTM_INFER_SEED:-1}"
    "$USER_PYTHON" tools/fuzz_import.py --n 1000 --seed "${LSTM_INFER_SEED:-1}" --walk
}

# ---- 10. the benchmark runs; its times are shown, not judged ----

step_bench() {
    "$USER_PYTHON" -m benchmarks.step --quick
    "$USER_PYTHON" -m benchmarks.sequence --quick
    "$USER_PYTHON" -m benchmarks.roads --quick
    [[ $FILES == no ]] || "$USER_PYTHON" -m benchmarks.streams --quick
}

# ---- 11. instructions of a call: no more than were stored, whoever else is on the machine ----

step_counts() {
    "$USER_PYTHON" tools/count_instructions.py
}
