/* In the place of TensorRT's libraries: every virtual function of every object calls one function of Python.
 *
 * The objects are laid out as the bindings expect: a table of virtual functions, and a pointer to an inner object
 * with one of its own. Both tables are this one, so that what is called is known by its place alone. The type
 * behind the table is one that the bindings do not know; they then take an object for what its function gives.
 */
typedef long (*virtual_function)(int place, void *a, void *b, void *c, void *d, void *e);
typedef void *(*maker)(const char *symbol, void *a, void *b);

static virtual_function asked;
static maker made;

void hollow_listen(virtual_function on_call, maker on_make) { asked = on_call; made = on_make; }

#define CALL(n) \
    static long call##n(void *a, void *b, void *c, void *d, void *e) { return asked ? asked(n, a, b, c, d, e) : 0; }
#define PLACE(n) (void *)call##n,
#define TEN(use, n) use(n##0) use(n##1) use(n##2) use(n##3) use(n##4) use(n##5) use(n##6) use(n##7) use(n##8) use(n##9)
#define ALL(use) use(0) use(1) use(2) use(3) use(4) use(5) use(6) use(7) use(8) use(9) \
    TEN(use, 1) TEN(use, 2) TEN(use, 3) TEN(use, 4) TEN(use, 5) TEN(use, 6) TEN(use, 7) TEN(use, 8) TEN(use, 9)

ALL(CALL)
extern void *_ZTISt9exception[]; /* typeinfo for std::exception */
static void *table[] = {0, _ZTISt9exception, ALL(PLACE)};
void *hollow_table(void) { return table + 2; }

/* The other way: a virtual function of an object that Python derives from ILogger or IProfiler. */
void hollow_log(void *object, int place, int severity, const char *text) {
    ((void (*)(void *, int, const char *))(*(void ***)object)[place])(object, severity, text);
}
void hollow_report(void *object, int place, const char *layer, float ms) {
    ((void (*)(void *, const char *, float))(*(void ***)object)[place])(object, layer, ms);
}

#define FACTORY(name) void *name(void *a, void *b) { return made ? made(#name, a, b) : 0; }
