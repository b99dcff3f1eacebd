package procfs

import (
	"bytes"
	"errors"
	"strconv"
)

// BootTime reads btime of /proc/stat (proc_stat(5)): when the system was
// booted, in seconds since the epoch.
func (p *FS) BootTime() (int64, error) {
	var boot int64
	err := p.read("stat", func(b []byte) (err error) {
		boot, err = parseBootTime(b)
		return err
	})
	return boot, err
}

func parseBootTime(b []byte) (int64, error) {
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		if value, ok := bytes.CutPrefix(line, []byte("btime ")); ok {
			c := cursor{line: value}
			boot := c.signed64("btime")
			return boot, c.err()
		}
	}
	return 0, errors.New("no btime")
}

// Uptime reads /proc/uptime (proc_uptime(5)): seconds since boot, with those
// that the system was suspended.
func (p *FS) Uptime() (float64, error) {
	var uptime float64
	err := p.read("uptime", func(b []byte) (err error) {
		first, _, _ := bytes.Cut(b, []byte{' '})
		uptime, err = strconv.ParseFloat(string(first), 64)
		return err
	})
	return uptime, err
}

// FilesInUse reads /proc/sys/fs/file-nr (proc_sys_fs(5)): how many files all
// processes have open together.
func (p *FS) FilesInUse() (int64, error) {
	var open int64
	err := p.read("sys/fs/file-nr", func(b []byte) error {
		first, _, _ := bytes.Cut(b, []byte{'\t'})
		c := cursor{line: first}
		open = c.signed64("open files")
		return c.err()
	})
	return open, err
}
