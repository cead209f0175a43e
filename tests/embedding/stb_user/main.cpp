// Decodes one PNG of one pixel with the program's stb_image and with ocellus; exit code 0 when both can.
#include <ocellus/image/decode.hpp>

bool user_decodes(const unsigned char* file, int bytes);

int main() {
  static const unsigned char png[] = {
      0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n',  // signature
      0,    0,   0,   13,  'I',  'H',  'D',  'R',  0,    0,   0,   1,   0, 0,    0,    1,
      8,    2,   0,   0,   0,    0,    0,    0,    0,  // 1 x 1, RGB
      0,    0,   0,   15,  'I',  'D',  'A',  'T',  0x78, 1,   1,   4,   0, 0xfb, 0xff, 0,
      10,   20,  30,  0,   0,    0,    0,  // stored data
      0,    0,   0,   0,   0,    0,    0,    0,    'I',  'E', 'N', 'D', 0, 0,    0,    0};
  const auto ours = ocellus::decode_image(std::as_bytes(std::span(png)));
  const bool right = ours && ours->pixels()[0] == 10 && ours->pixels()[2] == 30;
  return right && user_decodes(png, sizeof(png)) ? 0 : 1;
}
