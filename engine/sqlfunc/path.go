package sqlfunc

import (
	"context"
	"io/fs"
	"strings"

	"sockql/tables"
)

func pathFunctions(stat func(name string) (fs.FileInfo, error)) []Function {
	const arguments = "(command[, quoting[, escape]])"
	const rules = " The path may be any beginning of the command that ends before white space or at its end and names a file that exists and is no directory. With quoting other than 0, white space between double quotes ends nothing; the escape character, a backslash unless given, takes the one after it literally. "
	return []Function{
		{
			Name: "parent_directory", Args: []int{1}, Deterministic: true, Eval: parentDirectory,
			Doc: "parent_directory(path) returns what stands before the last slash, which is the empty text for a file of the root directory, and NULL for a path without a slash. Anything but a text is an error.",
		},
		{
			Name: "find_file_path_in_cmd", Eval: findFilePathInCmd(stat),
			Doc: "find_file_path_in_cmd" + arguments + " returns the path of the program in a command line, and the empty text if there is none." + rules + "The shortest counts. NULL is an error.",
		},
		{
			Name: "is_path_deterministic", Eval: isPathDeterministic(stat),
			Doc: "is_path_deterministic" + arguments + " returns 1 if the command line leaves no doubt which file it runs, and 0 if more than one could be meant." + rules + "NULL is an error.",
		},
	}
}

func parentDirectory(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
	if args[0].Kind() != tables.KindText {
		return tables.Null(), osqueryError("Invalid inputs to parent_directory, TEXT was expected")
	}
	path := text(args[0])
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 {
		return tables.Null(), nil
	}
	return tables.String(path[:slash]), nil
}

func findFilePathInCmd(stat func(string) (fs.FileInfo, error)) func(context.Context, *Call, []tables.Value) (tables.Value, error) {
	return func(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
		c, ok := newCommand(args)
		if !ok {
			return tables.Null(), osqueryError("Invalid inputs to find_binary_path_from_cmd")
		}
		return tables.String(c.program(stat, false)), nil
	}
}

func isPathDeterministic(stat func(string) (fs.FileInfo, error)) func(context.Context, *Call, []tables.Value) (tables.Value, error) {
	return func(_ context.Context, _ *Call, args []tables.Value) (tables.Value, error) {
		c, ok := newCommand(args)
		if !ok {
			return tables.Null(), osqueryError("Invalid inputs to is_path_deterministic")
		}
		shortest := c.program(stat, false)
		sure := shortest == "" || len(shortest) == len(c.line) || len(shortest) == len(c.program(stat, true))
		return tables.Bool(sure), nil
	}
}

// A command is a command line with the rules of its quoting.
type command struct {
	line    string
	quoting bool
	escape  byte
}

func newCommand(args []tables.Value) (c command, ok bool) {
	if len(args) == 0 || anyNull(args) {
		return command{}, false
	}
	c = command{line: text(args[0]), escape: '\\'}
	if len(args) > 1 {
		c.quoting = integer32(args[1]) != 0
	}
	if len(args) > 2 {
		escape := text(args[2])
		if len(escape) != 1 {
			return command{}, false
		}
		c.escape = escape[0]
	}
	return c, true
}

// maxProbes limits how many beginnings of one command line are looked for. A
// command line of a megabyte of spaces would otherwise cost a million system
// calls; no path is that long (PATH_MAX is 4096).
const (
	maxProbes = 256
	maxPath   = 4096
)

// program returns the shortest beginning that is a file, or the longest.
func (c command) program(stat func(string) (fs.FileInfo, error), longest bool) string {
	isFile := func(path []byte) bool {
		if len(path) == 0 || len(path) >= maxPath {
			return false
		}
		info, err := stat(string(path))
		return err == nil && !info.IsDir()
	}
	var found string
	var path []byte
	quoted, escaped, probes := false, false, 0
	line := strings.TrimLeft(c.line, space)
	for i := range len(line) {
		b := line[i]
		switch {
		case escaped:
			escaped = false
		case c.quoting && b == '"':
			quoted = !quoted
			continue
		case b == c.escape:
			escaped = true
			continue
		case !quoted && strings.IndexByte(space, b) >= 0 && probes < maxProbes && len(path) < maxPath:
			probes++
			if isFile(path) {
				found = string(path)
				if !longest {
					return found
				}
			}
		}
		path = append(path, b)
	}
	if isFile(path) {
		return string(path)
	}
	return found
}
