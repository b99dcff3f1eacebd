package shell

import (
	"fmt"
	"io"
	"strings"
)

// writeManual prints the manual page in the man(7) macros, from the same lists
// as the help.
func writeManual(w io.Writer, c *Config) {
	roff := strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "…", "...")
	text := func(s string) string {
		s = roff.Replace(s)
		if strings.HasPrefix(s, ".") {
			s = `\&` + s
		}
		return s
	}
	fmt.Fprintf(w, ".TH SOCKQL 1 \"\" \"sockql %s\" \"User Commands\"\n", c.Version)
	fmt.Fprintln(w, ".SH NAME\nsockql \\- ask with SQL what sockets and processes do")
	fmt.Fprintln(w, ".SH SYNOPSIS\n.B sockql\n[\\fIflags\\fR] [\\fISQL\\fR]\n.br\n.B sockql\n[\\fIflags\\fR] \\fIcommand\\fR")
	fmt.Fprintln(w, ".SH DESCRIPTION\nsockql answers SQL about this host. A statement comes as an argument or on standard input; without either there is a prompt.")
	fmt.Fprintln(w, ".SH COMMANDS")
	for _, sub := range commands(c) {
		fmt.Fprintf(w, ".TP\n.B %s\n%s\n", text(sub.Name), text(sub.Summary))
	}
	fmt.Fprintln(w, ".SH OPTIONS\nFlags begin with one or two dashes.")
	for _, d := range documented(false) {
		fmt.Fprintf(w, ".TP\n.B %s\n%s\n", text(flagForm(d)), text(flagDoc(d)))
	}
	fmt.Fprintln(w, ".SH DOT COMMANDS\nThey stand at the beginning of a line.")
	for _, d := range dotCommands() {
		fmt.Fprintf(w, ".TP\n.B %s\n%s\n", text(strings.TrimSpace("."+d.name+" "+d.args)), text(d.doc))
	}
	for _, t := range topics() {
		fmt.Fprintf(w, ".SH %s\n", text(strings.ToUpper(t.title)))
		for i, p := range t.paragraphs {
			if i > 0 {
				fmt.Fprintln(w, ".PP")
			}
			fmt.Fprintln(w, text(p))
		}
		if len(t.examples) > 0 {
			fmt.Fprintln(w, ".PP\n.nf")
			for _, e := range t.examples {
				fmt.Fprintln(w, text(e))
			}
			fmt.Fprintln(w, ".fi")
		}
	}
	fmt.Fprintln(w, ".SH SEE ALSO\n.BR ss (8),\n.BR lsof (8),\n.BR proc (5)")
}

// writeCompletion prints the script that completes the command line in a shell.
func writeCompletion(w io.Writer, c *Config, shell string) error {
	switch shell {
	case "bash":
		writeBash(w, c)
	case "zsh":
		writeZsh(w, c)
	case "fish":
		writeFish(w, c)
	default:
		return &usageError{message: fmt.Sprintf("completion: no script for %q", shell), hint: "Usage: sockql completion bash|zsh|fish"}
	}
	return nil
}

func flagName(d flagDef) string {
	if len(d.name) == 1 {
		return "-" + d.name
	}
	return "--" + d.name
}

// words returns what a flag's value may be.
func (d flagDef) words() []string { return d.choices }

// listTables is shell code that prints the names of the tables.
const listTables = `sockql -L 2>/dev/null | sed 's/^ *=> //'`

func writeBash(w io.Writer, c *Config) {
	var flags, subs []string
	fmt.Fprint(w, "# bash completion for sockql: source it, or put it in /usr/share/bash-completion/completions/sockql\n"+
		"_sockql() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} IFS=$' \\t\\n'\n"+
		"\tif [[ $prev == '=' ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; elif [[ $cur == '=' ]]; then prev=${COMP_WORDS[COMP_CWORD-1]} cur=; fi\n"+
		"\tcase $prev in\n")
	for _, d := range documented(false) {
		flags = append(flags, flagName(d))
		if d.kind == boolFlag {
			if d.value == "true" {
				flags = append(flags, "--no"+d.name)
			}
			continue
		}
		var action string
		switch {
		case len(d.words()) > 0:
			action = fmt.Sprintf("COMPREPLY=($(compgen -W '%s' -- \"$cur\"))", strings.Join(d.words(), " "))
		case d.complete == "file":
			action = "COMPREPLY=($(compgen -f -- \"$cur\"))"
		case d.complete == "dir":
			action = "COMPREPLY=($(compgen -d -- \"$cur\"))"
		case d.complete == "table":
			action = fmt.Sprintf("COMPREPLY=($(compgen -W \"$(%s)\" -- \"$cur\"))", listTables)
		}
		if action != "" {
			action += "; "
		}
		fmt.Fprintf(w, "\t%s) %sreturn ;;\n", flagName(d), action)
	}
	for _, sub := range commands(c) {
		name, _, _ := strings.Cut(sub.Name, " ")
		subs = append(subs, name)
	}
	fmt.Fprintf(w, "\thelp) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", strings.Join(topicNames(), " "))
	fmt.Fprintf(w, "\tcompletion) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$cur\")); return ;;\n\tesac\n")
	fmt.Fprintf(w, "\tif [[ $cur == -* ]]; then\n\t\tCOMPREPLY=($(compgen -W '%s' -- \"$cur\"))\n\telse\n\t\tCOMPREPLY=($(compgen -W '%s' -- \"$cur\"))\n\tfi\n}\ncomplete -F _sockql sockql\n",
		strings.Join(flags, " "), strings.Join(subs, " "))
}

func writeZsh(w io.Writer, c *Config) {
	quote := strings.NewReplacer("'", `'\''`, "[", `\[`, "]", `\]`, ":", `\:`)
	fmt.Fprint(w, "#compdef sockql\n# zsh completion for sockql: put it as _sockql in a directory of $fpath\n_sockql() {\n\t_arguments -s \\\n")
	for _, d := range documented(false) {
		value := ""
		if d.kind == stringFlag {
			value = ":" + quote.Replace(d.arg) + ":"
			switch {
			case len(d.words()) > 0:
				value += "(" + strings.Join(d.words(), " ") + ")"
			case d.complete == "file":
				value += "_files"
			case d.complete == "dir":
				value += "_files -/"
			case d.complete == "table":
				value += fmt.Sprintf("{compadd -- $(%s)}", quote.Replace(listTables))
			}
			value = "=" + "[" + quote.Replace(d.doc) + "]" + value
		} else {
			value = "[" + quote.Replace(d.doc) + "]"
		}
		fmt.Fprintf(w, "\t\t'%s%s' \\\n", flagName(d), value)
	}
	fmt.Fprint(w, "\t\t'1:command or SQL:((")
	for i, sub := range commands(c) {
		name, _, _ := strings.Cut(sub.Name, " ")
		if i > 0 {
			fmt.Fprint(w, " ")
		}
		fmt.Fprintf(w, `%s\:"%s"`, name, quote.Replace(sub.Summary))
	}
	fmt.Fprintf(w, "))' \\\n\t\t'2:argument:(bash zsh fish %s)'\n}\n_sockql \"$@\"\n", strings.Join(topicNames(), " "))
}

func writeFish(w io.Writer, c *Config) {
	quote := strings.NewReplacer(`\`, `\\`, "'", `\'`)
	fmt.Fprintln(w, "# fish completion for sockql: put it in ~/.config/fish/completions/sockql.fish\ncomplete -c sockql -f")
	for _, d := range documented(false) {
		option := "-l " + d.name
		if len(d.name) == 1 {
			option = "-o " + d.name
		}
		if d.kind == stringFlag {
			option += " -r"
			switch {
			case len(d.words()) > 0:
				option += fmt.Sprintf(" -a '%s'", strings.Join(d.words(), " "))
			case d.complete == "file" || d.complete == "dir":
				option += " -F"
			case d.complete == "table":
				option += fmt.Sprintf(" -a '(%s)'", quote.Replace(listTables))
			}
		}
		fmt.Fprintf(w, "complete -c sockql %s -d '%s'\n", option, quote.Replace(d.doc))
	}
	for _, sub := range commands(c) {
		name, _, _ := strings.Cut(sub.Name, " ")
		fmt.Fprintf(w, "complete -c sockql -n __fish_use_subcommand -a %s -d '%s'\n", name, quote.Replace(sub.Summary))
	}
	fmt.Fprintf(w, "complete -c sockql -n '__fish_seen_subcommand_from help' -a '%s'\n", strings.Join(topicNames(), " "))
	fmt.Fprintln(w, "complete -c sockql -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'")
}
