// Two versions of the library in one program; run.sh makes the other one.
namespace first {
const char* version();
}
namespace second {
const char* version();
}

int main() { return first::version()[0] == '0' && second::version()[0] == '9' ? 0 : 1; }
