// The archive of libstdc++ takes std::random_device's numbers from arc4random(), which glibc has
// since 2.36. With this definition in the program, the portable one does not ask glibc for it.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

extern "C" std::uint32_t arc4random() {
  std::uint32_t number = 0;
  // It fails only where the kernel is older than 3.17, or a filter forbids it: there is no way on
  // then.
  if (getentropy(&number, sizeof number) != 0) std::abort();
  return number;
}
