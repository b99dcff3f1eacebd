package netns

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// threadList is a file of procfs that each namespace has an own one of, as the
// calling thread's namespace shows it.
const threadList = "/proc/thread-self/net/tcp"

// Identity returns procfs.NetIdentity of the processes that live in the
// namespace, which tells for those that do not show the namespace's inode
// whether it is theirs. It enters the namespace, like [Do].
func (h *Handle) Identity() (uint64, error) {
	var st unix.Stat_t
	err := Do(h, func() error {
		if err := unix.Stat(threadList, &st); err != nil {
			return fmt.Errorf("stat %q: %w", threadList, err)
		}
		return nil
	})
	return st.Ino, err
}
