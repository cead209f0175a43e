// The whole of it: open a model, show it a picture, ask, print the answer as it comes.
//   hello [MODEL PICTURE QUESTION]
#include <ocellus/ocellus.hpp>

#include <cstdio>

ocellus::result<void> talk(const char* file, const char* picture_file, const char* question) {
  OCELLUS_ASSIGN(auto model, ocellus::model::open(file));
  OCELLUS_ASSIGN(auto picture, ocellus::load_image(picture_file));
  OCELLUS_ASSIGN(auto chat, ocellus::chat::open(model));
  OCELLUS_TRY(chat.show(picture));
  OCELLUS_TRY(
      chat.ask(question, [](std::string_view piece) { std::fwrite(piece.data(), 1, piece.size(), stdout); }));
  return {};
}

int main(int count, char** words) {
  const bool given = count == 4;
  const auto done = talk(given ? words[1] : "examples/data/micro.safetensors",
                         given ? words[2] : "examples/data/circle_and_cross.png",
                         given ? words[3] : "[grounding] please describe this image in details");
  std::puts("");
  if (!done)
    std::fprintf(stderr, "%.*s\n", int(done.error().message().size()), done.error().message().data());
  return done ? 0 : 1;
}
