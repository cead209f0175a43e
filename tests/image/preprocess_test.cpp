// Preprocessing: planar, in the order R, G, B, and bit by bit what f32 arithmetic in torch's order gives.
#include "ocellus/image/preprocess.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "ocellus/image/resize.hpp"
#include "support/counting_memory.hpp"

TEST_CASE("preprocess: each value is (byte / 255 - mean) / deviation in f32") {
  std::vector<std::uint8_t> ramp;
  for (int i = 0; i < 16 * 16; ++i) {
    ramp.insert(ramp.end(), {static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(255 - i),
                             static_cast<std::uint8_t>(i * 7)});
  }
  const ocellus::image_view view{ramp.data(), 16, 16};
  for (std::uint32_t size : {16u, 9u}) {
    auto pixels = ocellus::preprocess(view, size);
    auto resized = ocellus::resize_bicubic(view, size, size);
    REQUIRE(pixels);
    REQUIRE(resized);
    CHECK(pixels->dims() == ocellus::shape{3, size, size});
    std::size_t wrong = 0;
    for (std::uint32_t c = 0; c < 3; ++c) {
      for (std::uint32_t i = 0; i < size * size; ++i) {
        volatile float value =
            static_cast<float>(resized->pixels()[i * 3 + c]);  // volatile: one rounding a step
        value = value / 255.0f;
        value = value - ocellus::clip_normalization.mean[c];
        value = value / ocellus::clip_normalization.deviation[c];
        wrong += (*pixels)[c * size * size + i] != value;
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("preprocess: known values, as torchvision gives them") {
  // (0/255 - mean) / deviation, (128/255 - ...), (255/255 - ...) of the three channels, printed by torch.
  const std::uint8_t pixels[] = {0, 0, 0, 128, 128, 128, 255, 255, 255};
  const float expected[3][3] = {{-1.7922626f, 0.0763361454f, 1.9303361f},
                                {-1.7520971f, 0.16889732f, 2.0748837f},
                                {-1.4802198f, 0.33994877f, 2.145897f}};
  for (int value = 0; value < 3; ++value) {
    auto made = ocellus::preprocess({pixels + 3 * value, 1, 1}, 1);
    REQUIRE(made);
    for (std::size_t c = 0; c < 3; ++c) CHECK((*made)[c] == expected[c][value]);
  }
}

TEST_CASE("preprocess: bad arguments and no memory are errors") {
  const std::uint8_t pixel[3] = {};
  std::vector<float> room(12);
  CHECK(ocellus::preprocess({pixel, 1, 1}, 2, room));
  CHECK(!ocellus::preprocess({pixel, 1, 1}, 3, room));
  CHECK(!ocellus::preprocess({pixel, 1, 1}, 0));
  CHECK(!ocellus::preprocess({pixel, 1, 1}, 0xffffffff));
  CHECK(!ocellus::preprocess({nullptr, 1, 1}, 2));
  ocellus_tests::fail_every_allocation([&](const ocellus::memory_hooks& memory) {
    return ocellus::preprocess({pixel, 1, 1}, 4, memory);
  });
}
