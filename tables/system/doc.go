// Package system holds the tables that describe the system as a whole, such as
// its clock.
//
// They need no privilege. The tables are safe for concurrent use; scans share
// nothing.
package system
