package files

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"sockql/tables"
)

// maxDepth is how many directories below its start a recursive pattern
// reaches, as in osquery.
const maxDepth = 64

// A pattern finds paths in the manner of glob(7).
type pattern struct {
	components []component // behind the slash that a pattern begins with
	recursive  bool        // everything below what the last component finds
	slash      bool        // a directory that it finds is written with a slash at its end
}

// A component is what stands between two slashes of a pattern.
type component struct {
	text string // as it is, or for [path.Match]
	wild bool
}

// compile makes a pattern of a LIKE or GLOB term, and reports whether it is
// absolute. As in osquery, % stands for any part of a name but a dot at its
// beginning, %% at the end for everything below, and _ for itself: SQLite looks
// at the paths found once more, with its own meaning. A GLOB has *, ? and
// brackets in their place.
func compile(term tables.Pattern) (pattern, bool) {
	text := term.Text
	if !strings.HasPrefix(text, "/") {
		return pattern{}, false
	}
	many := "%"
	if term.Op == tables.OpGlob {
		many = "*"
	}
	var p pattern
	// With a wildcard at its end, both /etc/apt and /etc/apt/ fit, and osquery
	// writes the slash. Otherwise only what the pattern says can fit.
	p.slash = strings.HasSuffix(text, many)
	p.recursive = strings.HasSuffix(text, many+many)
	for text := range strings.SplitSeq(text[1:], "/") {
		c := component{text: text, wild: strings.Contains(text, many)}
		if term.Op == tables.OpGlob {
			c.wild = strings.ContainsAny(text, "*?[")
		} else if c.wild {
			c.text = likeEscaper.Replace(text)
		}
		p.components = append(p.components, c)
	}
	return p, true
}

// likeEscaper writes a component of a LIKE pattern for [path.Match].
var likeEscaper = strings.NewReplacer("%", "*", "*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`)

// match reports whether a name fits. A leading dot must be written out.
func (c component) match(name string) bool {
	if strings.HasPrefix(name, ".") && !strings.HasPrefix(c.text, ".") {
		return false
	}
	ok, err := path.Match(c.text, name)
	return ok && err == nil
}

// expand calls f for what a pattern finds, or only for the directories among
// it, until it returns an error.
func (s *search) expand(p pattern, onlyDirectories bool, f func(path string, directory bool) error) error {
	e := expansion{search: s, pattern: p, onlyDirectories: onlyDirectories, found: f}
	return e.walk("/", p.components)
}

type expansion struct {
	*search
	pattern
	onlyDirectories bool
	found           func(path string, directory bool) error
}

// walk matches components against what is below prefix, which ends in a slash.
func (e *expansion) walk(prefix string, components []component) error {
	var literal strings.Builder
	literal.WriteString(prefix)
	for len(components) > 0 && !components[0].wild {
		literal.WriteString(components[0].text)
		if components = components[1:]; len(components) == 0 {
			return e.literal(literal.String())
		}
		literal.WriteByte('/')
	}
	prefix = literal.String()
	return e.list(prefix, func(entry fs.DirEntry) error {
		if !components[0].match(entry.Name()) {
			return nil
		}
		if len(components) > 1 {
			if entry.Type()&(fs.ModeDir|fs.ModeSymlink) == 0 {
				return nil
			}
			return e.walk(prefix+entry.Name()+"/", components[1:])
		}
		return e.entry(prefix+entry.Name(), entry, 0)
	})
}

// literal handles the end of a pattern that has no wildcard in its last
// component. The file need not exist.
func (e *expansion) literal(name string) error {
	if !e.onlyDirectories {
		return e.found(name, false)
	}
	if !e.isDirectory(name) {
		return nil
	}
	return e.found(name, true)
}

// entry handles what the last component finds, and what is below it.
func (e *expansion) entry(name string, entry fs.DirEntry, depth int) error {
	real := entry.IsDir()
	directory := real || entry.Type()&fs.ModeSymlink != 0 && e.isDirectory(name)
	written := name
	if directory && e.slash {
		written += "/"
	}
	if directory || !e.onlyDirectories {
		if err := e.found(written, directory); err != nil {
			return err
		}
	}
	// A link may lead out of the directory that was asked for, and back in.
	if !e.recursive || !real {
		return nil
	}
	if depth >= maxDepth {
		e.query.Warn(fmt.Errorf("%s: directories more than %d levels below the start of a pattern are left out", e.query.Schema().Name, maxDepth))
		return nil
	}
	return e.list(name+"/", func(child fs.DirEntry) error {
		return e.entry(name+"/"+child.Name(), child, depth+1)
	})
}

// isDirectory reports whether a path leads to a directory.
func (e *expansion) isDirectory(name string) bool {
	fd, err := e.view.open(name, unix.O_PATH|unix.O_DIRECTORY)
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}
