#include <ocellus/implementation.hpp>
