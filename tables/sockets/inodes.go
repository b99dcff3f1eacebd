package sockets

// An inodeSet is a set of inodes. The kernel numbers sockets one after the
// other, so that a word stands for up to 64 of them.
type inodeSet map[uint64]uint64

func (s inodeSet) add(inode uint64)      { s[inode>>6] |= 1 << (inode & 63) }
func (s inodeSet) has(inode uint64) bool { return s[inode>>6]&(1<<(inode&63)) != 0 }

// remove removes an inode. It is called for each descriptor of a host, most of
// which are in the set.
func (s inodeSet) remove(inode uint64) {
	word, found := s[inode>>6]
	if !found {
		return
	}
	if word &^= 1 << (inode & 63); word == 0 {
		delete(s, inode>>6)
	} else {
		s[inode>>6] = word
	}
}
