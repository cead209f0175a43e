// How fast a machine reads: what a kernel that streams its weights is compared with.
#ifndef OCELLUS_BENCH_READING_HPP
#define OCELLUS_BENCH_READING_HPP

#include "ocellus/host.hpp"

namespace ocellus_bench {

/// Reads all of the memory, 64-byte aligned, with the widest loads of this processor, 1 MiB a task. What is left over of
/// the last MiB is not read.
void read_all(const ocellus::task_hooks& tasks, const void* memory, std::size_t bytes);

}  // namespace ocellus_bench

#endif  // OCELLUS_BENCH_READING_HPP
