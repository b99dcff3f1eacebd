package recording

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"
)

const (
	version   = 1
	magic     = "sockql recording "
	endOfFile = "end"
)

// A Header says what has to be known of the recorded host to read the rest.
type Header struct {
	// ByteOrder is "little" or "big".
	ByteOrder string
	// ClockTicks is the number of USER_HZ ticks in a second.
	ClockTicks uint64
	// PageSize is the size of a page in bytes.
	PageSize uint64
	// HideMode, HideGID and HideExempt are the mount options hidepid and gid of
	// the recorded procfs and whether the recorder was exempt from them.
	HideMode   uint8
	HideGID    uint32
	HideExempt bool
	// Nested says that the recorded procfs is not that of the initial pid
	// namespace, so that there were processes that it did not show. Recordings
	// from before it was noted say that it is not.
	Nested bool
	// Scrubbed says that addresses and texts were replaced.
	Scrubbed bool
	// Time is when the recording was made, to the second.
	Time time.Time
}

// hostByteOrder returns the ByteOrder of this host.
func hostByteOrder() string {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return "little"
	}
	return "big"
}

// fields lists the header's fields with their text.
func (h *Header) fields() []field {
	return []field{
		{"byte_order", func() string { return h.ByteOrder }, func(s string) error {
			if s != "little" && s != "big" {
				return errors.New("neither little nor big")
			}
			h.ByteOrder = s
			return nil
		}, false},
		unsigned("clock_ticks", &h.ClockTicks, 32),
		unsigned("page_size", &h.PageSize, 32),
		unsigned("hidepid", &h.HideMode, 8),
		unsigned("hidepid_gid", &h.HideGID, 32),
		boolean("hidepid_exempt", &h.HideExempt),
		optional(boolean("nested", &h.Nested)),
		boolean("scrubbed", &h.Scrubbed),
		{"time", func() string { return h.Time.UTC().Format(time.RFC3339) }, func(s string) (err error) {
			h.Time, err = time.Parse(time.RFC3339, s)
			return err
		}, false},
	}
}

type field struct {
	name  string
	text  func() string
	parse func(string) error
	// optional says that older recordings lack it.
	optional bool
}

func optional(f field) field {
	f.optional = true
	return f
}

func unsigned[T uint8 | uint32 | uint64](name string, v *T, bits int) field {
	return field{name, func() string { return strconv.FormatUint(uint64(*v), 10) }, func(s string) error {
		n, err := strconv.ParseUint(s, 10, bits)
		*v = T(n)
		return err
	}, false}
}

func boolean(name string, v *bool) field {
	return field{name, func() string { return strconv.FormatBool(*v) }, func(s string) (err error) {
		*v, err = strconv.ParseBool(s)
		return err
	}, false}
}

func (h *Header) marshal() []byte {
	b := fmt.Appendf(nil, "%s%d\n", magic, version)
	for _, f := range h.fields() {
		b = fmt.Appendf(b, "%s %s\n", f.name, f.text())
	}
	return append(b, endOfFile+"\n"...)
}

// parseHeader reads the file format. Fields that it does not know are passed
// over.
func parseHeader(b []byte) (Header, error) {
	var h Header
	fields := map[string]field{}
	for _, f := range h.fields() {
		fields[f.name] = f
	}
	l := lines{rest: b}
	first, _ := l.next()
	number, ok := bytes.CutPrefix(first, []byte(magic))
	if !ok {
		return h, l.fail(errors.New("not the beginning of a recording"))
	}
	if n, err := strconv.Atoi(string(number)); err != nil || n != version {
		return h, l.fail(fmt.Errorf("version %q; this program reads version %d", number, version))
	}
	ended := false
	for {
		line, ok := l.next()
		if !ok {
			break
		}
		if ended = string(line) == endOfFile; ended {
			break
		}
		name, value, _ := bytes.Cut(line, []byte{' '})
		f, known := fields[string(name)]
		if !known {
			continue
		}
		if err := f.parse(string(value)); err != nil {
			return h, l.fail(fmt.Errorf("%s: %w", name, err))
		}
		delete(fields, f.name)
	}
	maps.DeleteFunc(fields, func(_ string, f field) bool { return f.optional })
	if !ended || len(fields) > 0 || h.ClockTicks == 0 || h.PageSize == 0 {
		return h, l.fail(errors.New("cut short"))
	}
	return h, nil
}

// lines goes through a text and knows where it is.
type lines struct {
	rest   []byte
	offset int // of the current line
	length int // of it, with its newline
}

func (l *lines) next() (line []byte, ok bool) {
	l.offset += l.length
	if len(l.rest) == 0 {
		l.length = 0
		return nil, false
	}
	line, rest, found := bytes.Cut(l.rest, []byte{'\n'})
	l.length = len(line)
	if found {
		l.length++
	}
	l.rest = rest
	return line, true
}

func (l *lines) fail(err error) error { return &damage{offset: l.offset, err: err} }

// A damage is a place in a file that is not as it was written.
type damage struct {
	offset int
	err    error
}

func (d *damage) Error() string { return fmt.Sprintf("offset %d: %v", d.offset, d.err) }

func (d *damage) Unwrap() error { return d.err }
