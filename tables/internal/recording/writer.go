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
)

// A Writer writes a recording. Its methods fail with the error of the file
// system; paths are below the root, with slashes.
type Writer struct {
	root   string
	denied []string
}

// Create begins a recording in a directory, which must be empty or not exist.
func Create(root string) (*Writer, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("recording: create: %w", err)
	}
	switch entries, err := os.ReadDir(root); {
	case err != nil:
		return nil, fmt.Errorf("recording: create: %w", err)
	case len(entries) > 0:
		return nil, fmt.Errorf("recording: create %q: %w: name an empty directory or one that does not exist", root, fs.ErrExist)
	}
	w := &Writer{root: root}
	for _, name := range []string{mountsDir, netnsDir} {
		if err := w.Dir(name); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Dir makes a directory.
func (w *Writer) Dir(name string) error {
	name, err := w.local(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(name, 0o700); err != nil {
		return fmt.Errorf("recording: write: %w", err)
	}
	return nil
}

// File writes a file, and the directories on the way to it.
func (w *Writer) File(name string, content []byte) error {
	if err := w.Dir(path.Dir(name)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(w.root, name), content, 0o600); err != nil {
		return fmt.Errorf("recording: write: %w", err)
	}
	return nil
}

// Link makes a symbolic link, and the directories on the way to it.
func (w *Writer) Link(name, target string) error {
	if err := w.Dir(path.Dir(name)); err != nil {
		return err
	}
	if err := os.Symlink(target, filepath.Join(w.root, name)); err != nil {
		return fmt.Errorf("recording: write: %w", err)
	}
	return nil
}

// Denied notes that a path could not be read for want of privilege.
func (w *Writer) Denied(name string) { w.denied = append(w.denied, name) }

// Forget removes a process that ended while it was recorded.
func (w *Writer) Forget(name string) error {
	full, err := w.local(name)
	if err != nil {
		return err
	}
	w.denied = slices.DeleteFunc(w.denied, func(d string) bool { return d == name || len(d) > len(name) && d[:len(name)+1] == name+"/" })
	if err := os.RemoveAll(full); err != nil {
		return fmt.Errorf("recording: remove: %w", err)
	}
	return nil
}

// Mounts writes the mountinfo of a mount namespace once; [Writer.LinkMounts]
// makes it that of a process.
func (w *Writer) Mounts(mountns uint64, content []byte) error {
	return w.File(mountsDir+"/"+strconv.FormatUint(mountns, 10), content)
}

// LinkMounts gives a process the mountinfo of its mount namespace.
func (w *Writer) LinkMounts(pid int32, mountns uint64) error {
	return w.Link(strconv.Itoa(int(pid))+"/mountinfo", "../"+mountsDir+"/"+strconv.FormatUint(mountns, 10))
}

// List writes a file of the net directory of a network namespace.
func (w *Writer) List(netns uint64, name string, content []byte) error {
	return w.File(netnsPath(netns)+"/net/"+name, content)
}

// LinkNet gives a process the net directory of its network namespace.
func (w *Writer) LinkNet(pid int32, netns uint64) error {
	return w.Link(strconv.Itoa(int(pid))+"/net", "../"+netnsPath(netns)+"/net")
}

// Answers writes what the kernel answered to a protocol in a network namespace.
func (w *Writer) Answers(netns uint64, of Protocol, exchanges []Exchange) error {
	var b bytes.Buffer
	if err := writeAnswers(&b, exchanges); err != nil {
		return fmt.Errorf("recording: write answers of network namespace %d: %w", netns, err)
	}
	return w.File(netnsPath(netns)+"/"+string(of), b.Bytes())
}

// Interfaces writes the names of the interfaces of a network namespace.
func (w *Writer) Interfaces(netns uint64, names map[uint32]string) error {
	return w.File(netnsPath(netns)+"/interfaces", numbered(names))
}

// numbered writes lines of a number and a quoted text, ascending.
func numbered[N uint32 | uint64](texts map[N]string) []byte {
	var numbers []N
	for n := range texts {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	var b []byte
	for _, n := range numbers {
		b = fmt.Appendf(b, "%d %q\n", n, texts[n])
	}
	return b
}

// Finish writes what concerns the whole host. After it the directory is a
// recording. The header's ByteOrder is filled in.
func (w *Writer) Finish(h Header, lookups []Lookup, cgroups map[uint64]string) error {
	h.ByteOrder = hostByteOrder()
	slices.Sort(w.denied)
	var denied, told []byte
	for _, name := range w.denied {
		denied = append(strconv.AppendQuote(denied, name), '\n')
	}
	for _, l := range lookups {
		b, err := json.Marshal(l)
		if err != nil {
			return fmt.Errorf("recording: write: %w", err)
		}
		told = append(append(told, b...), '\n')
	}
	return errors.Join(
		w.File(deniedFile, denied),
		w.File(lookupFile, told),
		w.File(cgroupFile, numbered(cgroups)),
		w.File(formatFile, h.marshal()),
	)
}

// local returns the path of a file below the root.
func (w *Writer) local(name string) (string, error) {
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("recording: write: %q is no path below the root", name)
	}
	return filepath.Join(w.root, name), nil
}
