// Package files holds the tables of files: file, hash, extended_attributes,
// suid_bin and mounts.
//
// Whoever asks sees what the permissions of directories and files show them;
// CAP_DAC_READ_SEARCH shows everything. Files in the mount namespace of another
// user's process take CAP_SYS_PTRACE as well.
//
// Nothing is opened that could keep a scan waiting or that acts on being
// opened: pipes, sockets and devices are looked at from outside. A search below
// a directory does not follow symbolic links out of it.
//
// The tables are safe for concurrent use. What a session has hashed is shared
// by its scans.
package files
