#!/usr/bin/env bash
# gcc behind ccache, with NumPy's headers from one place where that is there ($NUMPY_HEADERS): pip builds with a copy of its
# own each time, and its path would make every module new to the cache.
arguments=()
for argument; do
    [[ $argument == -I*/numpy/_core/include && -d ${NUMPY_HEADERS:-} ]] && argument=-I$NUMPY_HEADERS
    arguments+=("$argument")
done
exec ccache gcc "${arguments[@]}"
