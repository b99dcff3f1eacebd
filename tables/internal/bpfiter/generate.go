package bpfiter

// The checked-in objects come from clang 14.0.6 as Debian 12 packages it. They
// are little endian, which amd64 and arm64 both are, and what differs between
// kernels is found when they are loaded, so one object serves both.
//
//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel files bpf/files.bpf.c -- -O2 -mcpu=v3 -Wall -Wextra -Wno-unused-parameter -Werror
//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel hash bpf/hash.bpf.c -- -O2 -mcpu=v3 -Wall -Wextra -Wno-unused-parameter -Werror
