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

// A Module is a loaded module of the kernel (proc_modules(5)).
type Module struct {
	Name    string
	Size    uint64 // bytes
	UsedBy  string // modules that need it, with commas between; "-" if none does
	State   string // Live, Loading or Unloading
	Address string // in the kernel's memory, zeros without CAP_SYSLOG
}

// Modules reads /proc/modules. It fails with [fs.ErrNotExist] where the kernel
// was built without modules. Lines that cannot be understood are the error that
// comes with the rest.
func (p *FS) Modules() ([]Module, error) {
	var modules []Module
	err := p.read("modules", func(b []byte) (err error) {
		modules, err = parseModules(b)
		return err
	})
	return modules, err
}

// parseModules reads the lines of m_show (kernel/module/procfs.c): name, size,
// how often it is in use, by whom, state, address, taints.
func parseModules(b []byte) ([]Module, error) {
	var modules []Module
	var errs []error
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		if len(line) == 0 {
			continue
		}
		c := cursor{line: line}
		m := Module{Name: string(c.token("name")), Size: c.dec("size")}
		c.skip(1, "use count")
		m.UsedBy = string(bytes.TrimSuffix(c.token("users"), []byte{','}))
		m.State, m.Address = string(c.token("state")), string(c.token("address"))
		if err := c.err(); err != nil {
			errs = append(errs, err)
			continue
		}
		modules = append(modules, m)
	}
	return modules, errors.Join(errs...)
}
