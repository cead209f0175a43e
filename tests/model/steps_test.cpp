// steps: a pass in pieces is the pass in one go.
#include "ocellus/model/steps.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

namespace {

using namespace ocellus;

/// A table whose linear() only writes down which rows it was called for, and can fail at a given call.
struct call_log {
  std::vector<std::string> calls;
  int fail_at = -1;
};
call_log* current = nullptr;  // a table has no context of its own

void log_linear(context& ctx, const matrix& x, const linear_output*, std::uint32_t count) noexcept {
  if (static_cast<int>(current->calls.size()) == current->fail_at) {
    current->fail_at = -1;
    return ctx.fail(error_code::cancelled);
  }
  current->calls.push_back(std::to_string(x.offset / 4 / 64) + "+" + std::to_string(x.rows) + "x" +
                           std::to_string(count));
}

struct fixture {
  call_log log;
  kernels table{};
  context ctx;
  steps run;
  matrix x, y;

  explicit fixture(std::uint32_t rows) {
    current = &log;
    table.linear = log_linear;
    x = {&table, 0, dtype::f32, rows, 64, 64};  // never read
    y = x;
  }
  bool pass(time_budget budget, bool fresh) {
    run.begin(table, ctx, {}, budget, fresh);
    run.linear(x, {{.weight = {}, .out = y}});
    run.linear(y, {{.weight = {}, .out = x}, {.weight = {}, .out = x}});
    return run.finished();
  }
};

const std::vector<std::string> all{"0+64x1", "64+64x1", "128+16x1", "0+64x2", "64+64x2", "128+16x2"};
constexpr std::chrono::nanoseconds no_time(0), enough_time(std::chrono::hours(1));

}  // namespace

TEST_CASE(
    "steps: calls are cut into blocks of 64 rows, in order, when time is limited, and are whole when it is "
    "not") {
  {
    fixture limited(144);
    CHECK(limited.pass({enough_time}, true));
    CHECK(limited.log.calls == all);
  }
  fixture unlimited(144);
  CHECK(unlimited.pass({}, true));
  CHECK(unlimited.log.calls == std::vector<std::string>{"0+144x1", "0+144x2"});
}

TEST_CASE("steps: no call has fewer than 16 rows but that of a pass which has no more") {
  const auto calls = [](std::uint32_t rows) {
    fixture f(rows);
    CHECK(f.pass({enough_time}, true));
    f.log.calls.resize(f.log.calls.size() / 2);
    return f.log.calls;
  };
  CHECK(calls(1) == std::vector<std::string>{"0+1x1"});
  CHECK(calls(65) == std::vector<std::string>{"0+65x1"});
  CHECK(calls(79) == std::vector<std::string>{"0+79x1"});
  CHECK(calls(80) == std::vector<std::string>{"0+64x1", "64+16x1"});
  CHECK(calls(143) == std::vector<std::string>{"0+64x1", "64+79x1"});
}

TEST_CASE("steps: what a limited run has left is one call of an unlimited one") {
  fixture f(144);
  CHECK_FALSE(f.pass({no_time}, true));
  CHECK(f.pass({}, false));
  CHECK(f.log.calls == std::vector<std::string>{"0+64x1", "64+80x1", "0+144x2"});
}

TEST_CASE("steps: without time each run of the pass does one unit, and all of them make the pass") {
  fixture f(144);
  int runs = 1;
  for (bool fresh = true; !f.pass({no_time}, fresh); fresh = false) {
    CHECK(f.log.calls.size() == static_cast<std::size_t>(runs));
    REQUIRE(++runs < 100);
  }
  CHECK(f.log.calls == all);
  CHECK(runs == 6);
}

TEST_CASE("steps: a unit that failed runs again, those before it do not") {
  for (int at = 0; at < 6; ++at) {
    fixture f(144);
    f.log.fail_at = at;
    CHECK_FALSE(f.pass({enough_time}, true));
    CHECK(f.ctx.failure() == error_code::cancelled);
    CHECK(f.log.calls.size() == static_cast<std::size_t>(at));
    CHECK_FALSE(f.pass({enough_time}, false));  // the failure was not cleared: nothing may run
    CHECK(f.log.calls.size() == static_cast<std::size_t>(at));
    f.ctx.clear_failure();
    CHECK(f.pass({enough_time}, false));
    CHECK(f.log.calls == all);
  }
}

TEST_CASE("steps: a fresh start forgets what was done") {
  fixture f(64);
  CHECK_FALSE(f.pass({no_time}, true));
  CHECK(f.pass({}, true));
  CHECK(f.log.calls == std::vector<std::string>{"0+64x1", "0+64x1", "0+64x2"});
}
