// Package netns enters network namespaces and finds those that no process
// lives in.
//
// A [Handle] is an open file of nsfs (namespaces(7)); the namespace lives at
// least as long as it. [Do] runs a function inside. Entering another namespace
// than one's own takes CAP_SYS_ADMIN in the user namespaces of both the caller
// and the target (setns(2)); opening the file of another user's process takes
// leave to ptrace it. [Find] reads mount tables, which everybody may.
//
// All functions are safe for concurrent use. A function that runs inside a
// namespace must hand nothing to other goroutines that would have to run there
// too, and must not yield rows: sockets that it makes stay in the namespace
// and can be used from anywhere.
package netns
