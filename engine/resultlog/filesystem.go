package resultlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// The names of osquery's files.
const (
	resultsFile   = "osqueryd.results.log"
	snapshotsFile = "osqueryd.snapshots.log"
)

// Filesystem writes lines to the files that osqueryd writes. It opens them for
// each batch, so that a tool such as logrotate may move them at any time.
type Filesystem struct {
	// Dir is the directory of the files, which must exist (logger_path).
	Dir string
	// Mode is that of new files; 0 stands for 0640 (logger_mode).
	Mode os.FileMode
	// RotateSize is the size in bytes from which a file is moved to a name that
	// ends in .1, and that to .2, before the next batch; 0 leaves rotation to
	// others. RotateFiles is the number of moved files to keep.
	RotateSize  int64
	RotateFiles int
}

// Name returns osquery's name of the logger.
func (f *Filesystem) Name() string { return "filesystem" }

func (f *Filesystem) path(s Stream) string {
	if s == Snapshots {
		return filepath.Join(f.Dir, snapshotsFile)
	}
	return filepath.Join(f.Dir, resultsFile)
}

// Create makes the file of results, as osqueryd does when it starts.
func (f *Filesystem) Create() error { return f.append(Results, nil) }

// Write appends lines. If one of the files fails, what went to it is taken
// back.
func (f *Filesystem) Write(lines []Line) error {
	var text [2][]byte
	for _, l := range lines {
		text[l.Stream&1] = append(append(text[l.Stream&1], l.Text...), '\n')
	}
	var undo []func() error
	for s := range Stream(2) {
		if len(text[s]) == 0 {
			continue
		}
		before := int64(0)
		if info, err := os.Stat(f.path(s)); err == nil {
			before = info.Size()
		}
		if f.RotateSize > 0 && before >= f.RotateSize {
			if err := f.rotate(f.path(s)); err != nil {
				return errors.Join(append([]error{err}, all(undo)...)...)
			}
			before = 0
		}
		undo = append(undo, func() error { return os.Truncate(f.path(s), before) })
		if err := f.append(s, text[s]); err != nil {
			return errors.Join(append([]error{err}, all(undo)...)...)
		}
	}
	return nil
}

func all(list []func() error) (errs []error) {
	for _, f := range list {
		if err := f(); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errs
}

func (f *Filesystem) append(s Stream, text []byte) error {
	mode := f.Mode
	if mode == 0 {
		mode = 0o640
	}
	file, err := os.OpenFile(f.path(s), os.O_WRONLY|os.O_CREATE|os.O_APPEND, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Close())
}

// rotate moves path to path.1, path.1 to path.2 and so on.
func (f *Filesystem) rotate(path string) error {
	keep := max(f.RotateFiles, 1)
	numbered := func(i int) string { return fmt.Sprintf("%s.%d", path, i) }
	n := 1
	for n < keep {
		if _, err := os.Lstat(numbered(n)); err != nil {
			break
		}
		n++
	}
	for ; n > 1; n-- {
		if err := os.Rename(numbered(n-1), numbered(n)); err != nil {
			return err
		}
	}
	return os.Rename(path, numbered(1))
}

// Resume looks for the first of the lines at the end of the files, where a
// process that was killed may have written some and a part of the next.
func (f *Filesystem) Resume(lines []Line) (int, error) {
	var tails [2][]byte
	for s := range Stream(2) {
		size := int64(1)
		for _, l := range lines {
			if l.Stream == s {
				size += int64(len(l.Text)) + 1
			}
		}
		tail, err := readTail(f.path(s), size)
		if err != nil {
			return 0, err
		}
		tails[s] = tail
	}
	// Within a batch, results were written before snapshots; the number of
	// written lines is therefore found for each stream by itself, and what is
	// written beyond the first missing line is taken back to be written again.
	var written [2]int
	for s := range Stream(2) {
		n, err := f.resume(s, lines, tails[s])
		if err != nil {
			return 0, err
		}
		written[s] = n
	}
	done := 0
	var used [2]int
	for _, l := range lines {
		if used[l.Stream&1] == written[l.Stream&1] {
			break
		}
		used[l.Stream&1]++
		done++
	}
	for s := range Stream(2) {
		var extra int64
		seen := 0
		for _, l := range lines {
			if l.Stream != s {
				continue
			}
			if seen++; seen > used[s] && seen <= written[s] {
				extra += int64(len(l.Text)) + 1
			}
		}
		if extra > 0 {
			if err := f.shorten(s, extra); err != nil {
				return 0, err
			}
		}
	}
	return done, nil
}

// resume returns how many lines of a stream its file ends with, and cuts off a
// part of a line.
func (f *Filesystem) resume(s Stream, lines []Line, tail []byte) (written int, err error) {
	end := bytes.LastIndexByte(tail, '\n') + 1
	if fragment := tail[end:]; len(fragment) > 0 {
		ours := false
		for _, l := range lines {
			ours = ours || l.Stream == s && strings.HasPrefix(l.Text, string(fragment))
		}
		if ours {
			err = f.shorten(s, int64(len(fragment)))
		} else {
			err = f.append(s, []byte{'\n'}) // of somebody else: left, but ended
		}
		if err != nil {
			return 0, err
		}
	}
	var text []byte
	n := 0
	for _, l := range lines {
		if l.Stream != s {
			continue
		}
		n++
		text = append(append(text, l.Text...), '\n')
		if bytes.HasSuffix(tail[:end], text) {
			written = n
		}
	}
	return written, nil
}

func (f *Filesystem) shorten(s Stream, by int64) error {
	info, err := os.Stat(f.path(s))
	if err != nil {
		return err
	}
	return os.Truncate(f.path(s), info.Size()-by)
}

// readTail returns the last bytes of a file; none if there is no file.
func readTail(path string, size int64) ([]byte, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(file, max(info.Size()-size, 0), size))
}
