package files

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"

	"golang.org/x/sys/unix"

	"sockql/tables"
)

type attributeRow struct {
	place
	key, value string
	encoded    bool // the value is in Base64
}

// ExtendedAttributes returns the table extended_attributes: the xattr(7) of the
// files of a path or a directory, with osquery's columns.
func ExtendedAttributes(c Config) (tables.Table, error) {
	path, directory := pathColumns("extended_attributes", func(r *attributeRow) *place { return &r.place })
	return tables.New(tables.Def[attributeRow]{
		Name: "extended_attributes",
		Doc: "Extended attributes (xattr(7)) of regular files and directories by path or directory, one of which a statement has to give, " +
			"found as in the table file. A symbolic link is followed.",
		Privilege: "CAP_DAC_READ_SEARCH reads the attributes of files of others, CAP_SYS_ADMIN those whose name begins with trusted.",
		Examples: []string{
			"SELECT path, value FROM extended_attributes WHERE directory = '/usr/bin' AND key = 'security.capability';",
		},
		Columns: []tables.Column[attributeRow]{
			path, directory,
			{Name: "key", Type: tables.Text, Doc: "Name of the attribute with its namespace, such as user.comment.",
				Get: func(r *attributeRow) tables.Value { return tables.String(r.key) }},
			{Name: "value", Type: tables.Text, Doc: "Value: of security.capability as cap_to_text(3) writes it, of others as it is if it is printable ASCII with a NUL after it, else in Base64.",
				Get: func(r *attributeRow) tables.Value { return tables.String(r.value) }},
			{Name: "base64", Type: tables.Integer, Doc: "1 if the value is in Base64, else 0.",
				Get: func(r *attributeRow) tables.Value { return tables.Bool(r.encoded) }},
		},
		Rows: func(ctx context.Context, q *tables.Query, yield func(*attributeRow) bool) error {
			var reader attributeReader
			return c.search(ctx, q, -1, func(p place) bool {
				more := true
				err := reader.read(p.view, p.path, func(key string, value []byte) bool {
					r := attributeRow{place: p, key: key}
					r.value, r.encoded = attributeText(key, value)
					more = yield(&r)
					return more
				})
				if err != nil && !absent(err) {
					warn(q, "files", err)
				}
				return more
			})
		},
	})
}

// An attributeReader holds the buffers for the attributes of one file after
// the other.
type attributeReader struct{ names, value []byte }

// read calls yield for each attribute of a regular file or directory until it
// returns false. An attribute that is removed meanwhile is left out.
func (a *attributeReader) read(v *view, path string, yield func(key string, value []byte) bool) error {
	var s status
	if err := v.stat(path, &s); err != nil {
		return err
	}
	if kind := s.format(); s.dangling || kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return nil
	}
	fd, err := v.open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if a.names == nil {
		// The kernel's bounds for both (include/uapi/linux/limits.h,
		// XATTR_LIST_MAX and XATTR_SIZE_MAX).
		a.names, a.value = make([]byte, 64<<10), make([]byte, 64<<10)
	}
	n, err := unix.Flistxattr(fd, a.names)
	if errors.Is(err, unix.ENOTSUP) || n <= 0 && err == nil {
		return nil
	}
	if err != nil {
		return err
	}
	var denied error
	for name := range bytes.SplitSeq(bytes.TrimSuffix(a.names[:n], []byte{0}), []byte{0}) {
		key := string(name)
		size, err := unix.Fgetxattr(fd, key, a.value)
		switch {
		case errors.Is(err, unix.ENODATA):
			continue
		case err != nil:
			denied = err
			continue
		}
		if !yield(key, a.value[:size]) {
			return nil
		}
	}
	return denied
}

const capabilityAttribute = "security.capability"

// attributeText returns a value as osquery shows it.
func attributeText(key string, value []byte) (text string, encoded bool) {
	if key == capabilityAttribute {
		if text, ok := capabilityText(value); ok {
			return text, false
		}
	}
	printable, terminated := bytes.CutSuffix(value, []byte{0})
	if terminated && !bytes.ContainsFunc(printable, func(r rune) bool { return r < ' ' || r > '~' }) {
		return string(printable), false
	}
	// osquery encodes a value with its last byte missing if that is a NUL.
	return base64.StdEncoding.EncodeToString(printable), true
}
