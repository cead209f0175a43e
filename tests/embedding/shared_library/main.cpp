extern "C" int library_answer();

int main() { return library_answer() == 42 ? 0 : 1; }
