package files

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"sockql/tables"
)

// digests are hash sums in hexadecimal digits by algorithm.
type digests [3]string

// algorithms make the hashes of [digests], in the order of the columns.
var algorithms = [...]func() hash.Hash{md5.New, sha1.New, sha256.New}

// firstDigest is the column of the first of the algorithms.
const firstDigest = directoryColumn + 1

type hashRow struct {
	place
	digests
}

// Hash returns the table hash: hash sums of the files of a path or a directory,
// with osquery's columns.
func Hash(c Config) (tables.Table, error) {
	if c.HashLimit == 0 {
		c.HashLimit = DefaultHashLimit
	}
	path, directory := pathColumns("hash", func(r *hashRow) *place { return &r.place })
	pid, mount := namespaceColumns(func(r *hashRow) *place { return &r.place })
	digest := func(i int, name, title string) tables.Column[hashRow] {
		return tables.Column[hashRow]{Name: name, Type: tables.Text, Collate: "NOCASE",
			Doc: title + " of the content in hexadecimal digits; NULL if the file cannot be read or is larger than the limit.",
			Get: func(r *hashRow) tables.Value {
				if r.digests[i] == "" {
					return tables.Null()
				}
				return tables.String(r.digests[i])
			}}
	}
	columns := []tables.Column[hashRow]{
		path, directory, digest(0, "md5", "MD5"), digest(1, "sha1", "SHA-1"), digest(2, "sha256", "SHA-256"), pid, mount,
	}
	pidColumn := len(columns) - 2
	return tables.New(tables.Def[hashRow]{
		Name: "hash",
		Doc: "Hash sums of regular files by path or directory, one of which a statement has to give, found as in the table file. " +
			"Within a statement each version of a file is read once, under however many paths.",
		Privilege: "CAP_DAC_READ_SEARCH reads the files of others.",
		Examples: []string{
			"SELECT sha256 FROM hash WHERE path = '/bin/sh';",
			"SELECT p.pid, p.name, h.sha256 FROM processes p JOIN hash h ON h.path = p.path;",
		},
		Columns: columns,
		Rows: func(ctx context.Context, q *tables.Query, yield func(*hashRow) bool) error {
			cache, err := tables.Share(ctx, q.Session(), cacheKey{}, func(context.Context) (*cache, error) {
				return &cache{
					versions: map[version]*cached{},
					buffers:  sync.Pool{New: func() any { return new([hashBuffer]byte) }},
				}, nil
			})
			if err != nil {
				return err
			}
			var wanted [len(algorithms)]bool
			for i := range wanted {
				wanted[i] = q.Used(firstDigest + i)
			}
			var r hashRow
			return c.search(ctx, q, pidColumn, func(p place) bool {
				var err error
				r.place = p
				r.digests, err = c.digests(ctx, cache, p, wanted)
				switch {
				case err == errNotRegular || ctx.Err() != nil:
					return ctx.Err() == nil
				case err != nil:
					warn(q, "files", err)
				}
				return yield(&r)
			})
		},
	})
}

// errTooLarge says that a file exceeds the limit.
var errTooLarge = errors.New("larger than the limit for hashing")

// digests returns the wanted hash sums of a file. It fails with
// [errNotRegular] for what has no row. If no sum is wanted, it only looks.
func (c Config) digests(ctx context.Context, cache *cache, p place, wanted [len(algorithms)]bool) (digests, error) {
	if wanted == [len(algorithms)]bool{} {
		var s status
		if err := p.stat(p.path, &s); err != nil || !s.regular() {
			return digests{}, errNotRegular
		}
		return digests{}, nil
	}
	f, st, err := p.openRegular(p.path)
	if err != nil {
		return digests{}, err
	}
	defer f.Close()
	if c.HashLimit > 0 && st.Size > c.HashLimit {
		return digests{}, fmt.Errorf("%w of %d bytes", errTooLarge, c.HashLimit)
	}
	e := cache.entry(version{uint64(st.Dev), st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()})
	e.mu.Lock()
	defer e.mu.Unlock()
	err = cache.fill(ctx, e, f, wanted, c.HashLimit)
	return e.digests, err
}

// A version tells apart the contents that a file has over time, as well as the
// kernel does: what changes it changes the time of that change.
type version struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // in nanoseconds since the epoch
}

type cacheKey struct{}

// A cache holds what a session has hashed.
type cache struct {
	mu       sync.Mutex
	versions map[version]*cached
	buffers  sync.Pool    // of *[hashBuffer]byte
	reads    atomic.Int64 // files that were read
}

// hashBuffer is how much of a file is read at once, in bytes.
const hashBuffer = 128 << 10

type cached struct {
	mu sync.Mutex // held while the file is read: others wait for the result
	digests
}

func (c *cache) entry(v version) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.versions[v]
	if e == nil {
		e = &cached{}
		c.versions[v] = e
	}
	return e
}

// fill reads the file if a wanted sum is not there yet.
func (c *cache) fill(ctx context.Context, e *cached, f io.Reader, wanted [len(algorithms)]bool, limit int64) error {
	var sums [len(algorithms)]hash.Hash
	var writers []io.Writer
	for i, want := range wanted {
		if want && e.digests[i] == "" {
			sums[i] = algorithms[i]()
			writers = append(writers, sums[i])
		}
	}
	if len(writers) == 0 {
		return nil
	}
	c.reads.Add(1)
	pooled := c.buffers.Get().(*[hashBuffer]byte)
	defer c.buffers.Put(pooled)
	buf := pooled[:]
	// The size that a file of procfs or sysfs tells is no bound.
	for total := int64(0); ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := f.Read(buf)
		if total += int64(n); limit > 0 && total > limit {
			return fmt.Errorf("%w of %d bytes", errTooLarge, limit)
		}
		for _, w := range writers {
			w.Write(buf[:n])
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	for i, sum := range sums {
		if sum != nil {
			e.digests[i] = hex.EncodeToString(sum.Sum(nil))
		}
	}
	return nil
}
