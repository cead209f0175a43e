// array<T> and text: growable, owning, on the host's allocator. Growth that fails returns false and changes nothing.
#ifndef OCELLUS_MEMORY_HPP
#define OCELLUS_MEMORY_HPP

#include <atomic>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "ocellus/error.hpp"
#include "ocellus/host.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// The error for a failed growth: says what the memory was for.
template <class... Parts>
[[nodiscard]] error no_memory(const Parts&... what) noexcept {
  return error(error_code::out_of_memory, "no memory for ", what...);
}

/// A growable sequence of T on the host's allocator. Move-only; growth returns false when memory is out.
template <class T>
class array {
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>);

 public:
  using value_type = T;
  static constexpr std::size_t alignment = alignof(T) > sizeof(void*) ? alignof(T) : sizeof(void*);

  array() noexcept = default;
  explicit array(const memory_hooks& memory) noexcept : memory_(memory) {}
  array(array&& other) noexcept
      : memory_(other.memory_),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  array& operator=(array&& other) noexcept {
    array(std::move(other)).swap(*this);
    return *this;
  }
  ~array() {
    clear();
    free_block();
  }
  void swap(array& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  [[nodiscard]] T* data() noexcept { return data_; }
  [[nodiscard]] const T* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] T* begin() noexcept { return data_; }
  [[nodiscard]] T* end() noexcept { return data_ + size_; }
  [[nodiscard]] const T* begin() const noexcept { return data_; }
  [[nodiscard]] const T* end() const noexcept { return data_ + size_; }
  [[nodiscard]] T& operator[](std::size_t i) noexcept { return data_[i]; }
  [[nodiscard]] const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  [[nodiscard]] T& back() noexcept { return data_[size_ - 1]; }
  [[nodiscard]] const T& back() const noexcept { return data_[size_ - 1]; }
  [[nodiscard]] std::span<T> span() noexcept { return {data_, size_}; }
  [[nodiscard]] std::span<const T> span() const noexcept { return {data_, size_}; }
  [[nodiscard]] const memory_hooks& memory() const noexcept { return memory_; }

  /// Room for exactly n elements or more than before.
  [[nodiscard]] bool reserve(std::size_t n) noexcept {
    if (n <= capacity_) return true;
    if (n > SIZE_MAX / sizeof(T)) return false;
    T* fresh = static_cast<T*>(memory_.allocate(memory_.context, n * sizeof(T), alignment));
    if (fresh == nullptr) return false;
    if constexpr (std::is_trivially_copyable_v<T>) {
      if (size_ != 0) std::memcpy(static_cast<void*>(fresh), data_, size_ * sizeof(T));
    } else {
      for (std::size_t i = 0; i < size_; ++i) {
        ::new (static_cast<void*>(fresh + i)) T(std::move(data_[i]));
        data_[i].~T();
      }
    }
    free_block();
    data_ = fresh;
    capacity_ = n;
    return true;
  }
  /// New elements are value-initialised: numbers become 0.
  [[nodiscard]] bool resize(std::size_t n) noexcept {
    if (n > capacity_ && !grow_to(n)) return false;
    for (std::size_t i = size_; i < n; ++i) ::new (static_cast<void*>(data_ + i)) T();
    truncate(n);
    size_ = n;
    return true;
  }
  /// The same for `times` times n elements; false also if there cannot be so many.
  [[nodiscard]] bool resize_times(std::size_t times, std::size_t n) noexcept {
    return (n == 0 || times <= SIZE_MAX / n) && resize(times * n);
  }
  [[nodiscard]] bool push_back(T value) noexcept {
    if (size_ == capacity_ && !grow_to(size_ + 1)) return false;
    ::new (static_cast<void*>(data_ + size_)) T(std::move(value));
    ++size_;
    return true;
  }
  /// Copies the elements to the end; they may not be part of this array.
  [[nodiscard]] bool append(std::span<const T> more) noexcept requires std::is_trivially_copyable_v<T> {
    if (more.empty()) return true;
    if (more.size() > SIZE_MAX - size_) return false;
    if (size_ + more.size() > capacity_ && !grow_to(size_ + more.size())) return false;
    std::memcpy(static_cast<void*>(data_ + size_), more.data(), more.size_bytes());
    size_ += more.size();
    return true;
  }
  void pop_back() noexcept { truncate(size_ - 1); }
  /// Drops elements from the end; keeps the memory.
  void truncate(std::size_t n) noexcept {
    if (n >= size_) return;
    for (std::size_t i = n; i < size_; ++i) data_[i].~T();
    size_ = n;
  }
  void clear() noexcept { truncate(0); }

 private:
  [[nodiscard]] bool grow_to(std::size_t n) noexcept {
    const std::size_t larger = capacity_ + capacity_ / 2 + 8;
    return (larger > n && reserve(larger)) || reserve(n);
  }
  void free_block() noexcept {
    if (data_ != nullptr) memory_.release(memory_.context, data_, capacity_ * sizeof(T), alignment);
    data_ = nullptr;
    capacity_ = 0;
  }

  memory_hooks memory_;
  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

/// Owning bytes of text (UTF-8 unless said otherwise), not terminated by a NUL.
class text : public array<char> {
 public:
  using array<char>::array;
  [[nodiscard]] std::string_view view() const noexcept { return {data(), size()}; }
  [[nodiscard]] bool append(std::string_view more) noexcept {
    return array<char>::append(std::span<const char>(more.data(), more.size()));
  }
};

/// Copies text onto the given allocator.
[[nodiscard]] inline result<text> copy_text(std::string_view from, const memory_hooks& memory) noexcept {
  text to(memory);
  if (!to.append(from)) return no_memory("text of ", from.size(), " bytes");
  return to;
}

/// One object on the host's allocator, shared by count: it lives as long as any handle to it. Handles may be copied
/// and dropped on any threads; the object itself says what is safe to do with it.
template <class T>
class shared {
 public:
  shared() noexcept = default;
  shared(const shared& other) noexcept : block_(other.block_) {
    if (block_ != nullptr) block_->count.fetch_add(1, std::memory_order_relaxed);
  }
  shared(shared&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  shared& operator=(shared other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~shared() {
    if (block_ == nullptr || block_->count.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    block_->end(block_);
  }

  /// Null when memory is out.
  template <class... Args>
  [[nodiscard]] static shared make(const memory_hooks& memory, Args&&... args) noexcept {
    shared made;
    void* place = memory.allocate(memory.context, sizeof(block), alignof(block));
    if (place == nullptr) return made;
    const auto end = [](counted* self) noexcept {
      const memory_hooks hooks = self->memory;
      static_cast<block*>(self)->~block();
      hooks.release(hooks.context, self, sizeof(block), alignof(block));
    };
    made.block_ = ::new (place) block{{memory, {1}, end}, T(std::forward<Args>(args)...)};
    return made;
  }

  [[nodiscard]] explicit operator bool() const noexcept { return block_ != nullptr; }
  [[nodiscard]] T& operator*() const noexcept { return *get(); }
  [[nodiscard]] T* operator->() const noexcept { return get(); }
  [[nodiscard]] T* get() const noexcept {
    return block_ != nullptr ? &static_cast<block*>(block_)->value : nullptr;
  }

 private:
  // Handles know only this much, so that they can be copied and dropped where T is merely declared.
  struct counted {
    memory_hooks memory;
    std::atomic<std::uint32_t> count;
    void (*end)(counted* self) noexcept;
  };
  struct block : counted {
    T value;
  };
  counted* block_ = nullptr;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MEMORY_HPP
