// Package procfs reads what the kernel tells of processes and sockets in
// procfs, or in a recorded tree of the same shape.
//
// Reading is apart from parsing: methods of [FS] open files below a root that
// the caller names, and unexported parsers see nothing but bytes. What the
// files hold is described in proc(5), proc_pid_*(5) and the kernel's
// Documentation/filesystems/proc.rst; each parser names the kernel function
// that prints its file.
//
// Everybody may list processes and read their status and the socket lists of
// their namespaces. What belongs to another user's process takes capabilities:
// CAP_SYS_PTRACE to look at a link (ptrace(2), "Ptrace access mode checking"),
// and CAP_DAC_READ_SEARCH as well to enter fd and to open io or environ. A
// procfs mounted with hidepid hides more: see [FS.HidePID].
//
// An [FS] is safe for concurrent use, a [Walker] belongs to one goroutine.
package procfs
