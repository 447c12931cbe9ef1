// A version of a library, which tells itself by what it answers; without one, a library that was linked with a version.
#ifdef VERSION
extern "C" int ncclGroupStart() { return 100 + VERSION; }
#else
extern "C" int ncclGroupStart();
// Not a jump: who calls is told by where the call returns to.
extern "C" int by_user() { return 1000 + ncclGroupStart(); }
#endif
