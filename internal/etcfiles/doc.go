// Package etcfiles parses the line-oriented files of /etc that name users,
// groups, services, protocols, hosts and name servers.
//
// The parsers are pure: they read what they are given, open nothing and need no
// privilege. They are made for files that somebody else wrote. A line that
// makes no sense, or is longer than [MaxLine], is left out, as the C library
// leaves it out. Each calls yield with a row that it uses again for the next
// one, and ends when yield returns false or the reader fails. They share no
// state, so any number may run at once.
package etcfiles
