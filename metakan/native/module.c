/* CPU kernels of the engine, as functions on addresses; see __init__.py for what they compute and who owns the memory.
 *
 * They run on the threads that torch already has: a second pool would compete with torch's, whose idle threads spin.
 * The entry point of that pool is looked up when the module is loaded, so that nothing links to an OpenMP library, and
 * where there is none one thread does all.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>
#endif

/* One copy of a kernel for each instruction set; the loader takes the best that the processor has. */
#ifndef VECTORISED /* may be given, empty, for a build with -march=native */
#if defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#define VECTORISED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTORISED
#endif
#endif
#if defined(__GNUC__)
#define INLINED static inline __attribute__((always_inline))
#else
#define INLINED static inline
#endif

#define CELLS 4096     /* of a segment search */
#define FLUSHED 1024   /* edges or points whose gradients are added up in their own type, before that in double */
#define BLOCK 64       /* points that pieces treat together */
#define MOST_ORDER 15  /* of splines */
#define MOST_FUNCTIONS 64

typedef void (*kernel)(void *call, Py_ssize_t start, Py_ssize_t stop, int thread);

typedef struct {
    kernel run;
    void *call;
    Py_ssize_t total;
} region;

static void (*open_region)(void (*)(void *), void *, unsigned, unsigned);
static int (*thread_number)(void), (*thread_count)(void);

static void find_threads(void)
{
#if defined(__unix__) || defined(__APPLE__)
    *(void **)&open_region = dlsym(RTLD_DEFAULT, "GOMP_parallel");
    *(void **)&thread_number = dlsym(RTLD_DEFAULT, "omp_get_thread_num");
    *(void **)&thread_count = dlsym(RTLD_DEFAULT, "omp_get_num_threads");
    if (!thread_number || !thread_count)
        open_region = NULL;
#endif
}

static void take_share(void *data)
{
    region *whole = data;
    Py_ssize_t threads = thread_count(), thread = thread_number();
    whole->run(whole->call, whole->total * thread / threads, whole->total * (thread + 1) / threads, (int)thread);
}

/* Run a kernel on the ranges of `total` items, each thread taking one range; the interpreter goes on meanwhile. */
static void parallel(kernel run, void *call, Py_ssize_t total, Py_ssize_t threads)
{
    region whole = {run, call, total};
    Py_BEGIN_ALLOW_THREADS
    if (threads > 1 && open_region)
        open_region(take_share, &whole, (unsigned)threads, 0);
    else
        run(call, 0, total, 0);
    Py_END_ALLOW_THREADS
}

/* Whether there are 32 registers of 64 bytes. */
static int many_registers(void)
{
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
#else
    return 0;
#endif
}

/* Add the sums of each thread to `sums`, in the order of the threads, so that the result is the same each time. */
static void gather_sums(double *sums, const double *parts, Py_ssize_t size, Py_ssize_t threads)
{
    for (Py_ssize_t thread = 0; thread < threads; thread++)
        for (Py_ssize_t index = 0; index < size; index++)
            sums[index] += parts[thread * size + index];
}

/* Transposing the square r of vectors: exchange blocks of halves, quarters and so on between rows. */
#if defined(__GNUC__) && !defined(__clang__)
#define WALKS 2 /* what the walk takes; Python asks for this number */
#define SHUFFLE(type, a, b, ...) __builtin_shuffle(a, b, (type){__VA_ARGS__})
#define SWAP(r, first, second, low, high)                                                  \
    {                                                                                      \
        const __typeof__((r)[0]) a_ = (r)[first], b_ = (r)[second];                        \
        (r)[first] = low, (r)[second] = high;                                              \
    }
#define HALVES_8(t, r, i, j) SWAP(r, i, j, SHUFFLE(t, a_, b_, 0, 1, 2, 3, 8, 9, 10, 11), SHUFFLE(t, a_, b_, 4, 5, 6, 7, 12, 13, 14, 15))
#define PAIRS_8(t, r, i, j) SWAP(r, i, j, SHUFFLE(t, a_, b_, 0, 1, 8, 9, 4, 5, 12, 13), SHUFFLE(t, a_, b_, 2, 3, 10, 11, 6, 7, 14, 15))
#define SINGLES_8(t, r, i, j) SWAP(r, i, j, SHUFFLE(t, a_, b_, 0, 8, 2, 10, 4, 12, 6, 14), SHUFFLE(t, a_, b_, 1, 9, 3, 11, 5, 13, 7, 15))
#define SWAPS_8(t, r)                                                                                  \
    HALVES_8(t, r, 0, 4) HALVES_8(t, r, 1, 5) HALVES_8(t, r, 2, 6) HALVES_8(t, r, 3, 7)                \
    PAIRS_8(t, r, 0, 2) PAIRS_8(t, r, 1, 3) PAIRS_8(t, r, 4, 6) PAIRS_8(t, r, 5, 7)                    \
    SINGLES_8(t, r, 0, 1) SINGLES_8(t, r, 2, 3) SINGLES_8(t, r, 4, 5) SINGLES_8(t, r, 6, 7)
#define PAIRS_4(t, r, i, j) SWAP(r, i, j, SHUFFLE(t, a_, b_, 0, 1, 4, 5), SHUFFLE(t, a_, b_, 2, 3, 6, 7))
#define SINGLES_4(t, r, i, j) SWAP(r, i, j, SHUFFLE(t, a_, b_, 0, 4, 2, 6), SHUFFLE(t, a_, b_, 1, 5, 3, 7))
#define SWAPS_4(t, r) PAIRS_4(t, r, 0, 2) PAIRS_4(t, r, 1, 3) SINGLES_4(t, r, 0, 1) SINGLES_4(t, r, 2, 3)
/* Add up each of the four vectors r, into the element of `sums` with its number. */
#define LOW_16 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define HIGH_16 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define LOWER_16 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HIGHER_16 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LOW_8 0, 8, 2, 10, 4, 12, 6, 14
#define HIGH_8 1, 9, 3, 11, 5, 13, 7, 15
#define LOWER_8 0, 1, 8, 9, 4, 5, 12, 13
#define HIGHER_8 2, 3, 10, 11, 6, 7, 14, 15
#define FOLD_TWO(t, a, b, size) SHUFFLE(t, a, b, LOW_##size) + SHUFFLE(t, a, b, HIGH_##size)
#define FOLD_FOUR_OF(t, r, sums, size)                                                                              \
    {                                                                                                               \
        const __typeof__((r)[0]) a_ = FOLD_TWO(t, (r)[0], (r)[1], size), b_ = FOLD_TWO(t, (r)[2], (r)[3], size);     \
        const __typeof__((r)[0]) c_ = SHUFFLE(t, a_, b_, LOWER_##size) + SHUFFLE(t, a_, b_, HIGHER_##size);          \
        __typeof__(sums) parts_[sizeof c_ / sizeof(sums)];                                                          \
        memcpy(parts_, &c_, sizeof c_);                                                                             \
        sums = parts_[0] + parts_[1];                                                                               \
        for (size_t part_ = 2; part_ < sizeof c_ / sizeof(sums); part_++)                                           \
            sums += parts_[part_];                                                                                  \
    }
#define FOLD_FOUR_16(t, r, sums) FOLD_FOUR_OF(t, r, sums, 16)
#define FOLD_FOUR_8(t, r, sums) FOLD_FOUR_OF(t, r, sums, 8)
/* The elements of `first` where `which` holds, and of `second` elsewhere; no function, whose vectors would be in an ABI. */
#define CHOOSE(which, first, second) \
    (__typeof__(first))(((which) & (__typeof__(which))(first)) | (~(which) & (__typeof__(which))(second)))
/* The 16 bits of number `field` in a word read from memory. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FIELD_OF(word, field) (uint16_t)((word) >> 16 * (field))
#else
#define FIELD_OF(word, field) (uint16_t)((word) >> 16 * (3 - (field)))
#endif
/* Read ahead some vectors of 64 bytes. */
#define PREFETCH_ROW(from, parts)                                        \
    {                                                                    \
        const char *row_ = (const char *)(from);                         \
        for (int part_ = 0; part_ < (parts); part_++)                    \
            __builtin_prefetch(row_ + 64 * part_);                       \
    }
#define MOST_TOGETHER 4  /* edges that the walk adds to an output at a time */
#define WALK_TILE 16     /* inputs whose prompts are read together, a line of the cache in each output */
#define WALK_FLUSHED 128 /* samples whose part of the gradient of the weights is added up before that in double */
#else
#define WALKS 0
#endif

#define REAL float
#define INTEGER int32_t
#define SWAPS SWAPS_8
#define FOLD_FOUR FOLD_FOUR_16
#define NAME(name) name##_float
#include "curve.h"
#include "splines.h"
#include "pieces.h"
#include "derivatives.h"
#if WALKS
#include "walk.h"
#undef FOR_RUNS
#undef FOR_FEATURES
#undef ADD_EDGES
#endif
#undef REAL
#undef INTEGER
#undef SWAPS
#undef FOLD_FOUR
#undef NAME
#define REAL double
#define INTEGER int64_t
#define SWAPS SWAPS_4
#define FOLD_FOUR FOLD_FOUR_8
#define NAME(name) name##_double
#include "curve.h"
#include "splines.h"
#include "pieces.h"
#include "derivatives.h"
#if WALKS
#include "walk.h"
#endif

#define METHODS(suffix)                                                   \
    {"curve_values" #suffix, curve_values##suffix, METH_VARARGS, NULL},   \
    {"curve_pull" #suffix, curve_pull##suffix, METH_VARARGS, NULL},       \
    {"features" #suffix, features##suffix, METH_VARARGS, NULL},           \
    {"features_pull" #suffix, features_pull##suffix, METH_VARARGS, NULL}, \
    {"pieces_values" #suffix, pieces_values##suffix, METH_VARARGS, NULL}, \
    {"pieces_pull" #suffix, pieces_pull##suffix, METH_VARARGS, NULL},     \
    {"derivatives" #suffix, derivatives_run##suffix, METH_VARARGS, NULL}

#define WALK_METHODS(suffix)                                      \
    {"walk_memory" #suffix, walk_memory##suffix, METH_VARARGS, NULL}, \
    {"walk" #suffix, walk_run##suffix, METH_VARARGS, NULL}

static PyMethodDef methods[] = {
    METHODS(_float), METHODS(_double),
#if WALKS
    WALK_METHODS(_float), WALK_METHODS(_double),
#endif
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernels", "CPU kernels of the engine.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    find_threads();
    PyObject *module = PyModule_Create(&definition);
    if (module) {
        PyModule_AddIntMacro(module, MOST_ORDER);
        PyModule_AddIntMacro(module, MOST_FUNCTIONS);
        PyModule_AddIntMacro(module, WALKS);
    }
    return module;
}
