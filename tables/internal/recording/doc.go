// Package recording writes the host that somebody saw to a directory and reads
// it back, so that questions can be asked of it later and elsewhere.
//
// # Format
//
// A recording is a directory in the shape of a procfs, as far as anybody reads
// it, with one more directory, "recording", for what a file system cannot
// show. Version 1 holds there:
//
//	format                    "sockql recording 1" on the first line, then one
//	                          line "key value" for each field of [Header], and
//	                          "end". It is written last: a recording without it
//	                          was not finished.
//	denied                    the paths, below the root, that could not be read
//	                          for want of privilege, each a quoted Go string
//	cgroups                   inode and quoted path of each cgroup v2 directory
//	lookups                   what single descriptors told ([Lookup]), each a
//	                          JSON object
//	mounts/INODE              the mountinfo of each mount namespace; those of
//	                          processes are links to it
//	netns/INODE/net/…         the socket lists of each network namespace as
//	                          text; the directories PID/net are links to them
//	netns/INODE/interfaces    index and quoted name of each interface
//	netns/INODE/answers       what sock_diag(7) answered
//	netns/INODE/route         what rtnetlink(7) answered
//	netns/INODE/nftables      what nf_tables answered
//
// The files of answers begin with the line "sockql answers 1". Records follow: a
// byte that says what it is, the length of its payload (4 bytes, big endian),
// the payload, and the CRC-32 (IEEE) of all that. 'Q' is a request, 'A' one
// datagram of the answer to the request before, both as they crossed the
// netlink socket; an empty 'Z' ends a file.
//
// Numbers in requests, answers and in addresses of the text are in the byte
// order of the recorded host, which the header names. Paths with an INODE are
// named by the decimal inode of the namespace in nsfs.
//
// Whoever may read the directory sees everything that the recorder saw: it is
// made for its owner only. A reader needs no privilege.
//
// A [Recording] is safe for concurrent use; a [Writer] belongs to one
// goroutine.
package recording
