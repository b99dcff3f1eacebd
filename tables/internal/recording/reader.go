package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
)

// Where things are, below the root.
const (
	dir        = "recording"
	formatFile = dir + "/format"
	deniedFile = dir + "/denied"
	cgroupFile = dir + "/cgroups"
	lookupFile = dir + "/lookups"
	mountsDir  = dir + "/mounts"
	netnsDir   = dir + "/netns"
)

// A Recording is a recorded host.
type Recording struct {
	root   string
	header Header
	denied map[string]bool

	lookups func() (map[uint64]json.RawMessage, error)
	cgroups func() (map[uint64]string, error)
}

// A Lookup is what a descriptor told of its socket, which was in no list.
type Lookup struct {
	// Inode is the socket's inode in sockfs.
	Inode uint64 `json:"inode"`
	// Socket is whatever whoever records has to say of it.
	Socket json.RawMessage `json:"socket"`
}

// Open opens the recording in a directory. It fails with an error that is
// [fs.ErrNotExist] if there is none: the directory may still be a tree in the
// shape of a procfs. Other errors say that it was not finished, is damaged, of
// another version, or from a host of the other byte order; those of damaged
// files name file and offset.
func Open(root string) (*Recording, error) {
	r := &Recording{root: root, denied: map[string]bool{}}
	err := r.parse(formatFile, func(b []byte) (err error) {
		r.header, err = parseHeader(b)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		if _, other := os.Stat(filepath.Join(root, dir)); other == nil {
			return nil, fmt.Errorf("recording: %q was not finished: record it again", root)
		}
	}
	if err != nil {
		return nil, err
	}
	if own := hostByteOrder(); r.header.ByteOrder != own {
		return nil, fmt.Errorf("recording: %q is of a %s-endian host and this one is %s-endian: replay it on one of its kind", root, r.header.ByteOrder, own)
	}
	if err := r.parse(deniedFile, func(b []byte) error {
		return eachLine(b, func(line []byte) error {
			path, err := strconv.Unquote(string(line))
			r.denied[path] = true
			return err
		})
	}); err != nil {
		return nil, err
	}
	r.lookups = sync.OnceValues(r.readLookups)
	r.cgroups = sync.OnceValues(r.readCgroups)
	return r, nil
}

// Header returns what the recording says of its host.
func (r *Recording) Header() Header { return r.header }

// Denied reports whether the recorder was not allowed to read a path below the
// root, or a directory on the way to it.
func (r *Recording) Denied(name string) bool {
	for len(r.denied) > 0 && name != "." && name != "/" && name != "" {
		if r.denied[name] {
			return true
		}
		name = path.Dir(name)
	}
	return false
}

// Answers returns what the kernel answered to a protocol in a network namespace. It fails
// with an error that is [fs.ErrNotExist] for one that it was not asked in. With
// an error it returns the exchanges before the damage.
func (r *Recording) Answers(netns uint64, of Protocol) (exchanges []Exchange, err error) {
	err = r.parse(netnsPath(netns)+"/"+string(of), func(b []byte) (err error) {
		exchanges, err = parseAnswers(b)
		return err
	})
	return exchanges, err
}

// Interfaces returns the names of the interfaces of a network namespace by
// index. It fails like [Recording.Answers].
func (r *Recording) Interfaces(netns uint64) (map[uint32]string, error) {
	names := map[uint32]string{}
	err := r.parse(netnsPath(netns)+"/interfaces", func(b []byte) error {
		return eachNumbered(b, 32, func(n uint64, name string) { names[uint32(n)] = name })
	})
	return names, err
}

// Lookup returns what a descriptor told of the socket with an inode, if the
// socket was in no list.
func (r *Recording) Lookup(inode uint64) (told json.RawMessage, ok bool, err error) {
	all, err := r.lookups()
	told, ok = all[inode]
	return told, ok, err
}

func (r *Recording) readLookups() (map[uint64]json.RawMessage, error) {
	all := map[uint64]json.RawMessage{}
	err := r.parse(lookupFile, func(b []byte) error {
		return eachLine(b, func(line []byte) error {
			var l Lookup
			err := json.Unmarshal(line, &l)
			all[l.Inode] = l.Socket
			return err
		})
	})
	return all, err
}

// Cgroups returns the paths of cgroup v2 directories by inode. The caller must
// not change the map.
func (r *Recording) Cgroups() (map[uint64]string, error) { return r.cgroups() }

func (r *Recording) readCgroups() (map[uint64]string, error) {
	paths := map[uint64]string{}
	err := r.parse(cgroupFile, func(b []byte) error {
		return eachNumbered(b, 64, func(n uint64, path string) { paths[n] = path })
	})
	return paths, err
}

// Namespaces returns the inodes of the recorded network namespaces, ascending.
func (r *Recording) Namespaces() ([]uint64, error) {
	entries, err := os.ReadDir(filepath.Join(r.root, netnsDir))
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	var inodes []uint64
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name(), 10, 64); err == nil {
			inodes = append(inodes, n)
		}
	}
	slices.Sort(inodes)
	return inodes, nil
}

func netnsPath(netns uint64) string { return netnsDir + "/" + strconv.FormatUint(netns, 10) }

// parse reads a file below the root.
func (r *Recording) parse(name string, parse func([]byte) error) error {
	b, err := os.ReadFile(filepath.Join(r.root, name))
	if err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	if err := parse(b); err != nil {
		return fmt.Errorf("recording: %q: %w", filepath.Join(r.root, name), err)
	}
	return nil
}

// eachLine calls f for each line, and says where an error of f was.
func eachLine(b []byte, f func(line []byte) error) error {
	for l := (lines{rest: b}); ; {
		line, ok := l.next()
		if !ok {
			return nil
		}
		if err := f(line); err != nil {
			return l.fail(fmt.Errorf("%q: %w", line, err))
		}
	}
}

// eachNumbered reads lines of a number and a quoted text.
func eachNumbered(b []byte, bits int, f func(n uint64, text string)) error {
	return eachLine(b, func(line []byte) error {
		digits, quoted, _ := bytes.Cut(line, []byte{' '})
		n, err := strconv.ParseUint(string(digits), 10, bits)
		if err != nil {
			return err
		}
		text, err := strconv.Unquote(string(quoted))
		f(n, text)
		return err
	})
}
