// The one file that compiles the library; tests, examples and benchmarks of this project link to it.
#include <ocellus/implementation.hpp>
