// Package kerneltest makes network namespaces, processes and odd sockets for
// tests that ask the kernel. Only tests import it.
//
// A [Namespace] is made by one call and goes with the test. Its methods make
// sockets inside it; the descriptors ([Sock]) belong to the test process, so
// that at first no process lives in the namespace, which is itself a case worth
// a test. [Hold] passes descriptors on to a child process that runs in the
// namespace; holding the same socket several times is what fork does. The
// child is the test binary itself, so a package that holds sockets has
//
//	func TestMain(m *testing.M) { kerneltest.Main(m) }
//
// Everything is undone by [testing.TB.Cleanup]; the host's own namespaces,
// mounts and settings are never changed. Namespaces need CAP_SYS_ADMIN: their
// constructor skips the test without. Functions that take a TB must be called
// on the test's goroutine, since they may end the test.
package kerneltest

// procRoot is where the kernel shows processes. A test that asks the kernel
// has no other one.
const procRoot = "/proc"
