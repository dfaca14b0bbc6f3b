/* Uniform B-splines by their local support, for one type REAL; included once for each.
 *
 * Points of splines are laid out in `rows` that lie `stride` apart, each of `blocks` times `inner` points; the numbers
 * of a point lie `inner` apart, so that a fully connected layer has inner = 1 and a convolution inner = height * width.
 */

typedef struct {
    REAL shift, inverse; /* x in units of the spacing, its knots at 1, 2, ... */
    Py_ssize_t cells;
} NAME(knots);

/* Return the cell of x, and its place in it; what is not a number lies outside of the knots. */
INLINED int32_t NAME(locate)(NAME(knots) knots, REAL x, REAL *place)
{
    const REAL least = (REAL)0.5, most = (REAL)knots.cells - least;
    REAL u = knots.shift + x * knots.inverse;
    u = u < most ? u : most;
    u = u > least ? u : least;
    const int32_t cell = (int32_t)u;
    *place = u - (REAL)cell;
    return cell;
}

/* Return the number nearest to x that is finite, so that a product with 0 is 0; what is not a number stays so. */
INLINED REAL NAME(finite)(REAL x)
{
    const REAL limit = sizeof(REAL) == sizeof(float) ? (REAL)FLT_MAX : (REAL)DBL_MAX;
    x = x < -limit ? -limit : x;
    return x > limit ? limit : x;
}

/* SiLU is 0 at minus infinity, and infinite at plus infinity. */
INLINED REAL NAME(silu)(REAL x, REAL sigmoid)
{
    const REAL limit = sizeof(REAL) == sizeof(float) ? (REAL)FLT_MAX : (REAL)DBL_MAX;
    return (x < -limit ? -limit : x) * sigmoid;
}

INLINED REAL NAME(silu_slope)(REAL x, REAL sigmoid)
{
    x = NAME(finite)(x);
    return sigmoid * (1 + x * (1 - sigmoid));
}

typedef struct {
    const REAL *x;
    Py_ssize_t blocks, inner, stride;
    NAME(knots) knots;
    Py_ssize_t count, order;
    const REAL *pieces;   /* coefficients (degree + 1, order + 1) of the splines, or of their derivatives */
    const REAL *sigmoid;  /* at the points */
    REAL *values;         /* (rows, blocks, count + 1, inner), or */
    const REAL *gradient; /* that of the values, */
    REAL *found;          /* and that of the points, rows `found_stride` apart */
    Py_ssize_t found_stride;
} NAME(splines);

INLINED void NAME(evaluate)(const REAL *restrict pieces, const Py_ssize_t order, const Py_ssize_t degree, REAL place,
                            REAL *restrict values)
{
    for (Py_ssize_t r = 0; r <= order; r++)
        values[r] = pieces[degree * (order + 1) + r];
    for (Py_ssize_t power = degree - 1; power >= 0; power--)
        for (Py_ssize_t r = 0; r <= order; r++)
            values[r] = values[r] * place + pieces[power * (order + 1) + r];
}

/* Return the number of a spline, or that of SiLU if there is no such spline; without a branch. */
INLINED Py_ssize_t NAME(spline)(Py_ssize_t index, Py_ssize_t count)
{
    return (size_t)index < (size_t)count ? index : count;
}

INLINED void NAME(features_range)(const NAME(splines) *call, Py_ssize_t start, Py_ssize_t stop, const Py_ssize_t inner,
                                  const Py_ssize_t order)
{
    const Py_ssize_t count = call->count;
    REAL values[MOST_ORDER + 1];
    for (Py_ssize_t outer = start; outer < stop; outer++) {
        const REAL *x = call->x + outer / call->blocks * call->stride + outer % call->blocks * inner;
        REAL *restrict out = call->values + outer * (count + 1) * inner;
        for (Py_ssize_t n = 0; n < count * inner; n++)
            out[n] = 0;
        for (Py_ssize_t i = 0; i < inner; i++) {
            REAL place;
            const Py_ssize_t first = NAME(locate)(call->knots, x[i], &place) - order - 1;
            NAME(evaluate)(call->pieces, order, order, place, values);
            for (Py_ssize_t r = 0; r <= order; r++)
                out[NAME(spline)(first + r, count) * inner + i] = values[r];
            out[count * inner + i] = NAME(silu)(x[i], call->sigmoid[outer * inner + i]);
        }
    }
}

INLINED void NAME(features_pull_range)(const NAME(splines) *call, Py_ssize_t start, Py_ssize_t stop,
                                       const Py_ssize_t inner, const Py_ssize_t order)
{
    const Py_ssize_t count = call->count;
    REAL slopes[MOST_ORDER + 1];
    for (Py_ssize_t outer = start; outer < stop; outer++) {
        const Py_ssize_t row = outer / call->blocks, column = outer % call->blocks * inner;
        const REAL *x = call->x + row * call->stride + column;
        REAL *found = call->found + row * call->found_stride + column;
        const REAL *gradient = call->gradient + outer * (count + 1) * inner;
        for (Py_ssize_t i = 0; i < inner; i++) {
            const REAL slope = NAME(silu_slope)(x[i], call->sigmoid[outer * inner + i]);
            REAL place, total = gradient[count * inner + i] * slope;
            const Py_ssize_t first = NAME(locate)(call->knots, x[i], &place) - order - 1;
            if (order > 0) {
                NAME(evaluate)(call->pieces, order, order - 1, place, slopes);
                for (Py_ssize_t r = 0; r <= order; r++) {
                    const Py_ssize_t spline = NAME(spline)(first + r, count);
                    total += (spline < count ? slopes[r] : 0) * gradient[spline * inner + i];
                }
            }
            found[i] = total;
        }
    }
}

/* Fully connected layers and the published order are compiled with loops of known length. */
#define FOR_ORDER(range)                                 \
    if (call->inner == 1 && call->order == 3)            \
        range(call, start, stop, 1, 3);                  \
    else if (call->order == 3)                           \
        range(call, start, stop, call->inner, 3);        \
    else                                                 \
        range(call, start, stop, call->inner, call->order);

VECTORISED static void NAME(features_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(splines) *call = data;
    (void)thread;
    FOR_ORDER(NAME(features_range))
}

VECTORISED static void NAME(features_pull_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(splines) *call = data;
    (void)thread;
    FOR_ORDER(NAME(features_pull_range))
}

/* (threads, x, rows, blocks, inner, stride, shift, inverse, count, order, pieces, sigmoid, values) */
static PyObject *NAME(features)(PyObject *self, PyObject *args)
{
    NAME(splines) call;
    Py_ssize_t threads, x, rows, pieces, sigmoid, values;
    double shift, inverse;
    if (!PyArg_ParseTuple(args, "nnnnnnddnnnnn", &threads, &x, &rows, &call.blocks, &call.inner, &call.stride, &shift,
                          &inverse, &call.count, &call.order, &pieces, &sigmoid, &values))
        return NULL;
    call.x = (const REAL *)x, call.pieces = (const REAL *)pieces, call.sigmoid = (const REAL *)sigmoid;
    call.values = (REAL *)values;
    call.knots = (NAME(knots)){(REAL)shift, (REAL)inverse, call.count + call.order + 2};
    parallel(NAME(features_part), &call, rows * call.blocks, threads);
    Py_RETURN_NONE;
}

/* (threads, x, rows, blocks, inner, stride, shift, inverse, count, order, pieces, sigmoid, gradient, found, its stride) */
static PyObject *NAME(features_pull)(PyObject *self, PyObject *args)
{
    NAME(splines) call;
    Py_ssize_t threads, x, rows, pieces, sigmoid, gradient, found;
    double shift, inverse;
    if (!PyArg_ParseTuple(args, "nnnnnnddnnnnnnn", &threads, &x, &rows, &call.blocks, &call.inner, &call.stride, &shift,
                          &inverse, &call.count, &call.order, &pieces, &sigmoid, &gradient, &found, &call.found_stride))
        return NULL;
    call.x = (const REAL *)x, call.pieces = (const REAL *)pieces, call.sigmoid = (const REAL *)sigmoid;
    call.gradient = (const REAL *)gradient, call.found = (REAL *)found;
    call.knots = (NAME(knots)){(REAL)shift, (REAL)inverse, call.count + call.order + 2};
    parallel(NAME(features_pull_part), &call, rows * call.blocks, threads);
    Py_RETURN_NONE;
}
