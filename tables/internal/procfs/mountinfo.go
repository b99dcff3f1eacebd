package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A HideMode is the mount option hidepid of a procfs (proc(5), "Mount
// options").
type HideMode uint8

// The modes, by the kernel's numbers (include/linux/proc_fs.h).
const (
	HideOff        HideMode = 0 // every process is shown
	HideNoAccess   HideMode = 1 // other users' directories cannot be entered
	HideInvisible  HideMode = 2 // nor are they listed
	HidePtraceable HideMode = 4 // only what the caller may ptrace is shown; Linux 5.8
)

// A HidePID says what a procfs hides.
type HidePID struct {
	Mode HideMode
	// GID is the group whose members see everything in the modes 1 and 2.
	GID uint32
	// Exempt says that the mode does not apply to the caller, who is a member
	// of that group or has CAP_SYS_PTRACE.
	Exempt bool
}

// Hides reports whether processes of others are closed to the caller, or
// missing.
func (h HidePID) Hides() bool { return h.Mode != HideOff && !h.Exempt }

// Omits reports whether processes of others are missing from the list, too.
func (h HidePID) Omits() bool { return h.Hides() && h.Mode != HideNoAccess }

// HidePID returns whether the procfs hides other people's processes from the
// caller, as its mount options say. It fails where it cannot find them out:
// in a procfs of a pid namespace in which the caller has no number. A recording
// says what was hidden from its recorder; a mere tree hides nothing.
func (p *FS) HidePID() (HidePID, error) {
	if p.recorded != nil {
		h := p.recorded.Header()
		return HidePID{Mode: HideMode(h.HideMode), GID: h.HideGID, Exempt: h.HideExempt}, nil
	}
	if !p.mounted {
		return HidePID{}, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(p.dir, &st); err != nil {
		return HidePID{}, fmt.Errorf("procfs: stat %q: %w", p.root, err)
	}
	var h HidePID
	err := p.read("self/mountinfo", func(b []byte) (err error) {
		h, err = parseHidePID(b, unix.Major(st.Dev), unix.Minor(st.Dev))
		return err
	})
	if err != nil || h.Mode == HideOff {
		return h, err
	}
	if h.Mode != HidePtraceable {
		h.Exempt = h.GID == uint32(os.Getegid())
		if groups, err := os.Getgroups(); err == nil {
			h.Exempt = h.Exempt || slices.Contains(groups, int(h.GID))
		}
	}
	if !h.Exempt {
		err = p.read("self/status", func(b []byte) error {
			status, err := parseStatus(b)
			h.Exempt = status.HasCapability(unix.CAP_SYS_PTRACE)
			return err
		})
	}
	return h, err
}

// parseHidePID finds the options of the procfs with a device number in
// mountinfo. They are the superblock's, so that every mount of it shows the
// same.
func parseHidePID(b []byte, major, minor uint32) (HidePID, error) {
	device := fmt.Sprintf("%d:%d", major, minor)
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		if m, err := ParseMount(line); err == nil && m.Device == device && m.Type == "proc" {
			return parseHideOptions([]byte(m.SuperOptions))
		}
	}
	return HidePID{}, errors.New("the procfs is not among the mounts of this process")
}

// parseHideOptions reads what proc_show_options (fs/proc/root.c) prints: names
// since Linux 5.8, numbers before.
func parseHideOptions(options []byte) (HidePID, error) {
	var h HidePID
	for option := range bytes.SplitSeq(options, []byte{','}) {
		key, value, _ := bytes.Cut(option, []byte{'='})
		switch string(key) {
		case "gid":
			c := cursor{line: value}
			h.GID = c.dec32("gid")
			if err := c.err(); err != nil {
				return h, err
			}
		case "hidepid":
			switch string(value) {
			case "0", "off":
				h.Mode = HideOff
			case "1", "noaccess":
				h.Mode = HideNoAccess
			case "2", "invisible":
				h.Mode = HideInvisible
			case "4", "ptraceable":
				h.Mode = HidePtraceable
			default:
				return h, fmt.Errorf("unknown mount option %q", option)
			}
		}
	}
	return h, nil
}

// A Mount is one line of /proc/<pid>/mountinfo (proc_pid_mountinfo(5)).
type Mount struct {
	ID, Parent uint32
	Device     string // major and minor number of st_dev, with a colon between
	Root       string // what of the file system is mounted
	Path       string // where, below the root directory of the process
	Options    string // of this mount
	Type       string // of the file system, with its subtype
	Source     string // device, or whatever mount(2) was given
	// SuperOptions are those of the file system, whichever mount shows it.
	SuperOptions string
}

// superFlags are the options that the kernel prints of a file system first
// (show_sb_opts in fs/proc_namespace.c).
var superFlags = [...]string{"sync", "dirsync", "mand", "lazytime"}

// Flags returns the options of the mount and of its file system in the one list
// that /proc/<pid>/mounts has (proc_pid_mounts(5), show_vfsmnt in
// fs/proc_namespace.c).
func (m *Mount) Flags() string {
	access, own, _ := strings.Cut(m.Options, ",")
	superAccess, rest, _ := strings.Cut(m.SuperOptions, ",")
	if superAccess == "ro" {
		access = "ro"
	}
	list := []string{access}
	for _, flag := range superFlags {
		if first, after, _ := strings.Cut(rest, ","); first == flag {
			list, rest = append(list, flag), after
		}
	}
	for _, options := range []string{own, rest} {
		if options != "" {
			list = append(list, options)
		}
	}
	return strings.Join(list, ",")
}

// Mounts calls yield for the mounts of this process, in the kernel's order,
// until it returns false. Everybody may. Where lines were malformed, the others
// are handed over before the error is returned.
func (p *FS) Mounts(yield func(*Mount) bool) error {
	return p.read("self/mountinfo", func(b []byte) error {
		var errs []error
		for line := range bytes.SplitSeq(b, []byte{'\n'}) {
			if len(line) == 0 {
				continue
			}
			m, err := ParseMount(line)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if !yield(&m) {
				break
			}
		}
		return errors.Join(errs...)
	})
}

// ParseMount reads a line of show_mountinfo (fs/proc_namespace.c). Optional
// fields stand before the lone hyphen; options may be missing behind it.
func ParseMount(line []byte) (Mount, error) {
	c := cursor{line: line}
	m := Mount{ID: c.dec32("mount ID"), Parent: c.dec32("parent ID"), Device: string(c.token("device"))}
	m.Root, m.Path = unescapeMount(c.token("root")), unescapeMount(c.token("mount point"))
	m.Options = string(c.token("options"))
	for c.bad == "" && string(c.token("separator")) != "-" {
		continue
	}
	m.Type, m.Source = unescapeMount(c.token("type")), ""
	// A source may be the empty string, which leaves two spaces.
	rest := line[c.at:]
	if source, ok := bytes.CutPrefix(rest, []byte{' '}); ok && c.bad == "" {
		source, options, _ := bytes.Cut(source, []byte{' '})
		m.Source, m.SuperOptions = unescapeMount(source), string(options)
	}
	return m, c.err()
}

// unescapeMount replaces the octal escapes that the kernel writes for blanks,
// newlines, backslashes and number signs (mangle in fs/proc_namespace.c).
func unescapeMount(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	var s strings.Builder
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && len(b)-i > 3 {
			if n, err := strconv.ParseUint(string(b[i+1:i+4]), 8, 8); err == nil {
				s.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		s.WriteByte(b[i])
	}
	return s.String()
}
