package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"

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

// Hides reports whether processes of others may be missing.
func (h HidePID) Hides() bool { return h.Mode != HideOff && !h.Exempt }

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
// mountinfo (proc_pid_mountinfo(5)). They are the superblock's, so that every
// mount of it shows the same.
func parseHidePID(b []byte, major, minor uint32) (HidePID, error) {
	device := fmt.Sprintf("%d:%d", major, minor)
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		mount, super, ok := bytes.Cut(line, []byte(" - "))
		if !ok {
			continue
		}
		fields := bytes.Fields(mount)
		source := bytes.Fields(super)
		if len(fields) < 3 || string(fields[2]) != device || len(source) < 3 || string(source[0]) != "proc" {
			continue
		}
		return parseHideOptions(source[2])
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
