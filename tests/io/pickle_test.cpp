// pickle: plain data and tensors are read, everything else is refused within bounded time and memory.
#include "ocellus/io/pickle.hpp"

#include <doctest/doctest.h>

#include "support/counting_memory.hpp"
#include "support/torch_archive.hpp"

using namespace ocellus;
using namespace ocellus_tests;

namespace {

/// The error's name, or the kind of the root.
std::string verdict(const std::string& source) {
  const exact_bytes bytes(source);
  counting_memory memory;
  const auto made = pickle::parse(bytes.span(), memory.hooks());
  CHECK(memory.peak() < 200u << 20);
  return std::string(made ? name_of(made->root().kind) : name_of(made.error().code()));
}
std::string run(const std::string& body) { return verdict(py_program(body)); }

const std::string some_tensor = py_tensor(py_storage("0", 12), 0, {3, 4}, {4, 1});

}  // namespace

TEST_CASE("pickle: plain data is read") {
  CHECK(run("N") == "None");
  CHECK(run("\x88") == "a boolean");
  CHECK(run("K\x05") == "an integer");
  CHECK(run("M\x05\x06") == "an integer");
  CHECK(run("J\x05\x06\x07\x08") == "an integer");
  CHECK(run("\x8a\x01\xff") == "an integer");
  CHECK(run("G12345678") == "a number");
  CHECK(run(py_string("\xc3\xa4")) == "a string");
  CHECK(run(")") == "a tuple");
  CHECK(run("NN\x86") == "a tuple");
  CHECK(run("](NNe") == "a list");
  CHECK(run("]Na") == "a list");
  CHECK(run(py_no_hooks) == "a dictionary");
  CHECK(run(some_tensor) == "a tensor");
  CHECK(run("]q\x05h\x05"
            "a") == "a list");  // a list that holds itself
}

TEST_CASE("pickle: members are found by key, in their order") {
  const exact_bytes bytes(py_program(py_dict({{"x", py_int(-3)}, {"y", "N"}, {"x", "]"}})));
  const auto made = pickle::parse(bytes.span());
  REQUIRE(made);
  const auto x = made->find(made->root(), "x");
  REQUIRE(x);
  CHECK(x->kind == pickle_kind::integer);
  CHECK(static_cast<std::int64_t>(x->number) == -3);
  CHECK_FALSE(made->find(made->root(), "z"));
  CHECK_FALSE(made->find(*x, "x"));
  std::string keys;
  CHECK(made->for_members(made->root(), [&](const pickle::member& m) -> result<void> {
    keys += made->string(m.key);
    return {};
  }));
  CHECK(keys == "xyx");
}

TEST_CASE("pickle: integers of every width keep their sign") {
  const auto number = [](const std::string& body) {
    const exact_bytes bytes(py_program(body));
    const auto made = pickle::parse(bytes.span());
    REQUIRE(made);
    return static_cast<std::int64_t>(made->root().number);
  };
  CHECK(number(std::string("\x8a\x00", 2)) == 0);
  CHECK(number("\x8a\x01\xff") == -1);
  CHECK(number("\x8a\x02\xff\x7f") == 32767);
  CHECK(number("\x8a\x08" + little(std::uint64_t{1} << 63, 8)) == INT64_MIN);
  CHECK(number("J\xfe\xff\xff\xff") == -2);
  CHECK(number("K\xff") == 255);
  CHECK(number("M\xff\xff") == 65535);
  CHECK(run("\x8a\x09" + std::string(9, '\1')) == "int_range");
}

TEST_CASE("pickle: names of code are refused whatever is done with them") {
  CHECK(run(py_global("os", "system") + py_string("true") + "\x85R") == "pickle_global");
  CHECK(run(py_global("builtins", "eval")) == "pickle_global");
  CHECK(run(py_dict({{"args", py_global("argparse", "Namespace")}})) == "pickle_global");
  CHECK(run(py_global("argparse", "Namespace") + ")\x81}b") == "pickle_global");
  CHECK(run(py_global("torch", "_utils._rebuild_tensor_v2")) == "pickle_global");
  CHECK(run(py_global("torch._utils ", "_rebuild_tensor_v2")) == "pickle_global");
  CHECK(run(py_global("torch._utils", "_rebuild_qtensor") + ")R") == "pickle_global");
  CHECK(run("c" + std::string(1 << 20, 'a') + "\nb\n") == "pickle_global");
  CHECK(run("cos") == "pickle_truncated");
  for (const char* code : {"i",
                           "o",
                           "\x82\x01",
                           "\x83\x01\x01",
                           "\x93",
                           "\x92",
                           "P1\n",
                           "I1\n",
                           "F1\n",
                           "S'a'\n",
                           "V a\n",
                           "d",
                           "l",
                           "p0\n",
                           "g0\n",
                           "0",
                           "1",
                           "2",
                           "\x8b\x01",
                           "\x8c\x01"
                           "a",
                           "\x8f",
                           "\x94",
                           "\x95",
                           "\xff"}) {
    CAPTURE(code);
    CHECK(run(std::string("N") + code) == "pickle_opcode");
  }
}

TEST_CASE("pickle: the stack, marks and memo are watched") {
  CHECK(verdict("") == "pickle_truncated");
  CHECK(verdict("\x80") == "pickle_truncated");
  CHECK(verdict("(dp0\n.") == "pickle_opcode");
  CHECK(verdict("\x80\xffN.") == "pickle_protocol");
  CHECK(verdict(std::string("\x80\x02N", 3)) == "pickle_truncated");
  CHECK(run("") == "pickle_underflow");
  CHECK(run("N\x86") == "pickle_underflow");
  CHECK(run("}s") == "pickle_underflow");
  CHECK(run("q\x05") == "pickle_underflow");
  CHECK(run("t") == "pickle_mark");
  CHECK(run("(") == "pickle_mark");
  CHECK(run("N(\x86") == "pickle_mark");
  CHECK(run("}(Nu") == "pickle_odd_items");
  CHECK(run("(NNu") == "pickle_underflow");
  CHECK(run("h\x05") == "pickle_memo");
  CHECK(run("Nq\x05h\x04") == "pickle_memo");
  CHECK(run("j\xff\xff\xff\xff") == "pickle_memo");
  CHECK(run("Nr\xff\xff\xff\xff") == "pickle_limit_memo");
  CHECK(run("N" + std::string(".x")) == "pickle_trailing");
  CHECK(run("X\xff\xff\xff\xff"
            "abc") == "pickle_truncated");
  CHECK(run("X" + little(2, 4) + "\xff\xfe") == "utf8");
  CHECK(verdict(std::string("\x80\x02J\x01", 4)) == "pickle_truncated");
}

TEST_CASE("pickle: a few bytes cannot ask for a memo of megabytes") {
  const exact_bytes bytes(py_program("Nr" + little(pickle::max_memo - 1, 4)));
  counting_memory memory;
  const auto made = pickle::parse(bytes.span(), memory.hooks());
  REQUIRE(!made);
  CHECK(made.error().code() == error_code::pickle_limit_memo);
  CHECK(memory.peak() < 4096);
}

TEST_CASE("pickle: values have the types that are asked of them") {
  CHECK(run("NNa") == "pickle_type");
  CHECK(run("}Na") == "pickle_type");
  CHECK(run("NNNs") == "pickle_type");
  CHECK(run(some_tensor + "NNs") == "pickle_type");
  CHECK(run("}}b") == "pickle_type");
  CHECK(run(py_no_hooks + "Nb") == "pickle_type");
  CHECK(run("NR") == "pickle_underflow");
  CHECK(run("N)R") == "pickle_type");
  CHECK(run("ccollections\nOrderedDict\nNR") == "pickle_type");
  CHECK(run("ccollections\nOrderedDict\n(K\x05tR") == "pickle_type");
  CHECK(run(py_global("torch", "float32") + ")R") == "pickle_type");
  const auto rebuild = [](const std::vector<std::string>& arguments) {
    return run(py_global("torch._utils", "_rebuild_tensor_v2") + py_tuple(arguments) + "R");
  };
  const std::string s = py_storage("0", 12), n = py_int(0), d = py_ints({3}), hooks = py_no_hooks;
  CHECK(rebuild({s, n, d, d, "\x89", hooks}) == "a tensor");
  CHECK(rebuild({s, n, d, d, "\x89", hooks, "}"}) == "a tensor");
  CHECK(rebuild({s, n}) == "pickle_arguments");
  CHECK(rebuild({s, n, d, d, "\x89", hooks, "}", "}"}) == "pickle_arguments");
  CHECK(rebuild({"N", n, d, d, "\x89", hooks}) == "pickle_type");
  CHECK(rebuild({s, "N", d, d, "\x89", hooks}) == "pickle_type");
  CHECK(rebuild({s, n, "](K\3e", d, "\x89", hooks}) == "pickle_type");
  CHECK(rebuild({s, n, "(G12345678t", d, "\x89", hooks}) == "pickle_type");
  CHECK(rebuild({s, n, d, d, "N", hooks}) == "pickle_type");
  CHECK(rebuild({s, n, d, d, "\x89", py_dict({{"a", "N"}})}) == "pickle_hooks");
  CHECK(run(py_global("torch._utils", "_rebuild_parameter") + py_tuple({some_tensor, "\x88", hooks}) + "R") ==
        "a tensor");
  CHECK(run(py_global("torch._utils", "_rebuild_parameter") + py_tuple({"N", "\x88", hooks}) + "R") ==
        "pickle_type");
  CHECK(run("NQ") == "persistent_id");
  CHECK(run(")Q") == "persistent_id");
  CHECK(run(py_tuple({py_string("module"), "N", "N", "N", "N"}) + "Q") == "persistent_id");
}

TEST_CASE("pickle: bombs end at a limit, quickly and without recursion") {
  CHECK(run("]" + std::string(1'000'000, '\x85')) == "pickle_limit_depth");
  CHECK(run(std::string(200'000, ']') + std::string(199'999, 'a')) == "pickle_limit_depth");
  CHECK(run(std::string(1'000'000, '(')) == "pickle_mark");
  CHECK(run("(" + std::string(2'000'000, 'N') + "t") == "pickle_limit");
  std::string puts = "N";
  for (int i = 0; i < 8'000'001; ++i) puts += std::string_view("q\0", 2);
  CHECK(run(puts) == "pickle_limit");
  std::string laughs = "]q" + little(0, 1);
  for (int i = 0; i < 60; ++i) {  // each list holds the one before twice: 2^60 elements if they were copied
    laughs += "](h" + little(static_cast<std::uint64_t>(i), 1) + "h" +
              little(static_cast<std::uint64_t>(i), 1) + "eq" + little(static_cast<std::uint64_t>(i) + 1, 1);
  }
  CHECK(run(laughs) == "a list");
}

TEST_CASE("pickle: a broken byte anywhere gives a verdict, no crash") {
  const std::string good =
      py_program(py_dict({{"model", py_dict({{"w", some_tensor}, {"x", some_tensor}})}, {"epoch", "K\3"}}));
  CHECK(verdict(good) == "a dictionary");
  for (std::size_t i = 0; i < good.size(); ++i) {
    (void)verdict(good.substr(0, i));
    for (int value = 0; value < 256; value += 3) {
      std::string bad = good;
      bad[i] = static_cast<char>(value);
      (void)verdict(bad);
    }
  }
}

TEST_CASE("pickle: out of memory is an error, and nothing leaks") {
  const exact_bytes bytes(py_program(py_dict({{"a", some_tensor}, {"b", "](NNeq\x01"}, {"c", ")"}})));
  fail_every_allocation([&](const memory_hooks& memory) { return pickle::parse(bytes.span(), memory); });
}
