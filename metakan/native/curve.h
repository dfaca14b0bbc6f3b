/* A piecewise-linear curve through the numbers of edges, for one type REAL: n = slopes[segment] * prompt + offsets[segment].
 *
 * Included once for each type. Addresses come from Python as integers.
 */

typedef struct {
    const REAL *kinks;
    Py_ssize_t first, last; /* kinks below every prompt, and those not above every prompt */
    REAL low, scale;
    int32_t below[CELLS];   /* kinks in lower cells */
} NAME(search);

/* A monotone function even in floating point, so that kinks in lower cells lie below and those in higher ones above. */
INLINED Py_ssize_t NAME(cell)(const NAME(search) *search, REAL number)
{
    REAL scaled = (number - search->low) * search->scale;
    return scaled > 0 ? (scaled < CELLS - 1 ? (Py_ssize_t)scaled : CELLS - 1) : 0;
}

static void NAME(prepare)(NAME(search) *search, const REAL *kinks, Py_ssize_t count, REAL low, REAL high)
{
    Py_ssize_t first = 0, last;
    while (first < count && kinks[first] < low)
        first++;
    for (last = first; last < count && kinks[last] <= high;)
        last++;
    search->kinks = kinks, search->first = first, search->last = last;
    search->low = first < last ? kinks[first] : 0;
    REAL span = first < last ? kinks[last - 1] - kinks[first] : 0;
    search->scale = span > 0 ? (CELLS - 1) / span : 0;
    if (!isfinite(search->scale))
        search->scale = 0;
    Py_ssize_t below = first;
    for (Py_ssize_t cell = 0; cell < CELLS; cell++) {
        while (below < last && NAME(cell)(search, kinks[below]) < cell)
            below++;
        search->below[cell] = (int32_t)below;
    }
}

INLINED Py_ssize_t NAME(segment)(const NAME(search) *search, REAL prompt)
{
    Py_ssize_t segment = search->below[NAME(cell)(search, prompt)];
    while (segment < search->last && prompt > search->kinks[segment])
        segment++;
    return segment;
}

typedef struct {
    const REAL *prompts;      /* (rows, width), rows `stride` apart */
    Py_ssize_t stride, width;
    const REAL *table;        /* slopes and then offsets, (2, segments, numbers) */
    Py_ssize_t segments, numbers;
    REAL *values;             /* (rows, width, numbers), or */
    const REAL *gradient;     /* that of the values, */
    REAL *found;              /* that of the prompts, rows `found_stride` apart, */
    Py_ssize_t found_stride;
    double *sums;             /* and that of the table, one for each thread, */
    REAL *recent;             /* to which those of the last edges are still to be added */
    NAME(search) search;
} NAME(curve);

VECTORISED static void NAME(curve_values_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(curve) *call = data;
    const Py_ssize_t numbers = call->numbers, width = call->width;
    Py_ssize_t row = width ? start / width : 0, column = start - row * width;
    (void)thread;
    for (Py_ssize_t edge = start; edge < stop; edge++, column++) {
        if (column == width)
            row++, column = 0;
        const REAL prompt = call->prompts[row * call->stride + column];
        const REAL *restrict slopes = call->table + NAME(segment)(&call->search, prompt) * numbers;
        const REAL *restrict offsets = slopes + call->segments * numbers;
        REAL *restrict values = call->values + edge * numbers;
        for (Py_ssize_t n = 0; n < numbers; n++)
            values[n] = slopes[n] * prompt + offsets[n];
    }
}

INLINED void NAME(flush)(double *sums, REAL *recent, Py_ssize_t size)
{
    for (Py_ssize_t index = 0; index < size; index++)
        sums[index] += recent[index], recent[index] = 0;
}

VECTORISED static void NAME(curve_pull_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(curve) *call = data;
    const Py_ssize_t numbers = call->numbers, width = call->width, size = call->segments * numbers;
    Py_ssize_t row = width ? start / width : 0, column = start - row * width;
    double *sums = call->sums + 2 * size * thread;
    REAL *recent = call->recent + 2 * size * thread;
    for (Py_ssize_t edge = start; edge < stop; edge++, column++) {
        if (column == width)
            row++, column = 0;
        const REAL prompt = call->prompts[row * call->stride + column];
        const Py_ssize_t place = NAME(segment)(&call->search, prompt) * numbers;
        const REAL *restrict slopes = call->table + place, *restrict gradient = call->gradient + edge * numbers;
        REAL *restrict slope_sums = recent + place, *restrict offset_sums = recent + size + place, total = 0;
#pragma omp simd reduction(+ : total)
        for (Py_ssize_t n = 0; n < numbers; n++) {
            total += slopes[n] * gradient[n];
            slope_sums[n] += prompt * gradient[n];
            offset_sums[n] += gradient[n];
        }
        call->found[row * call->found_stride + column] = total;
        if ((edge - start) % FLUSHED == FLUSHED - 1)
            NAME(flush)(sums, recent, 2 * size);
    }
    NAME(flush)(sums, recent, 2 * size);
}

/* (threads, prompts, rows, width, stride, kinks, count, low, high, table, numbers, values) */
static PyObject *NAME(curve_values)(PyObject *self, PyObject *args)
{
    NAME(curve) call;
    Py_ssize_t threads, prompts, rows, kinks, count, table, values;
    double low, high;
    if (!PyArg_ParseTuple(args, "nnnnnnnddnnn", &threads, &prompts, &rows, &call.width, &call.stride, &kinks, &count,
                          &low, &high, &table, &call.numbers, &values))
        return NULL;
    call.prompts = (const REAL *)prompts, call.table = (const REAL *)table, call.values = (REAL *)values;
    call.segments = count + 1;
    NAME(prepare)(&call.search, (const REAL *)kinks, count, (REAL)low, (REAL)high);
    parallel(NAME(curve_values_part), &call, rows * call.width, threads);
    Py_RETURN_NONE;
}

/* (threads, prompts, rows, width, stride, kinks, count, low, high, table, numbers, gradient, found, its stride, sums) */
static PyObject *NAME(curve_pull)(PyObject *self, PyObject *args)
{
    NAME(curve) call;
    Py_ssize_t threads, prompts, rows, kinks, count, table, gradient, found, sums;
    double low, high;
    if (!PyArg_ParseTuple(args, "nnnnnnnddnnnnnn", &threads, &prompts, &rows, &call.width, &call.stride, &kinks, &count,
                          &low, &high, &table, &call.numbers, &gradient, &found, &call.found_stride, &sums))
        return NULL;
    call.prompts = (const REAL *)prompts, call.table = (const REAL *)table, call.gradient = (const REAL *)gradient;
    call.found = (REAL *)found, call.segments = count + 1;
    const Py_ssize_t size = 2 * call.segments * call.numbers;
    call.sums = calloc((size_t)(threads * size), sizeof(double) + sizeof(REAL));
    if (!call.sums)
        return PyErr_NoMemory();
    call.recent = (REAL *)(call.sums + threads * size);
    NAME(prepare)(&call.search, (const REAL *)kinks, count, (REAL)low, (REAL)high);
    parallel(NAME(curve_pull_part), &call, rows * call.width, threads);
    gather_sums((double *)sums, call.sums, size, threads);
    free(call.sums);
    Py_RETURN_NONE;
}
