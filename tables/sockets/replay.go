package sockets

import (
	"sockql/tables/internal/recording"
	"sockql/tables/internal/sockdiag"
	"sockql/tables/internal/socket"
)

// A replay answers from a recording what a kernel would be asked.
type replay struct{ *recording.Recording }

// connect returns a connection to the recorded kernel of a namespace.
func (r replay) connect(support *sockdiag.Support, netns uint64) (*sockdiag.Conn, error) {
	exchanges, err := r.Answers(netns, recording.SockDiag)
	if err != nil {
		return nil, err
	}
	return support.Replay(exchanges, netns), nil
}

// lookUp returns the recorded socket of a descriptor that was in no list, or
// nil if its descriptor was closed, or not inspected.
func (r replay) lookUp(inode uint64) (*socket.Socket, error) {
	told, found, err := r.Lookup(inode)
	if err != nil || !found {
		return nil, err
	}
	return sockdiag.UnmarshalSocket(told)
}
