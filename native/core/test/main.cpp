#include "core/test/check.h"

int main() { return gcr::test::run_all(); }
