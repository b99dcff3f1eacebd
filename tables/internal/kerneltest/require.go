package kerneltest

import (
	"errors"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// RequireRoot skips the test unless it runs with the effective user id 0.
func RequireRoot(tb testing.TB) {
	tb.Helper()
	if unix.Geteuid() != 0 {
		tb.Skip("needs root, to make network namespaces")
	}
}

// RequireProgram returns the path of a program, or skips the test if it is not
// installed.
func RequireProgram(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		tb.Skipf("needs the program %s: %v", name, err)
	}
	return path
}

// unsupported reports whether an error of socket(2) says that the kernel lacks
// the family or protocol.
func unsupported(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPROTONOSUPPORT) ||
		errors.Is(err, unix.ESOCKTNOSUPPORT) || errors.Is(err, unix.ENOPROTOOPT)
}
