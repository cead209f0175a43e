// The CPU tables: cpu_kernels() and find_cpu_kernels() are declared in kernels.hpp; this is the header of
// cpu.ipp.
#ifndef OCELLUS_KERNELS_CPU_HPP
#define OCELLUS_KERNELS_CPU_HPP

#include "ocellus/kernels/cpu_memory.hpp"
#include "ocellus/kernels/reference.hpp"

#endif  // OCELLUS_KERNELS_CPU_HPP
