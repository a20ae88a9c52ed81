package main

import (
	"context"
	"flag"
	"io"
)

// A doFunc runs a command with the arguments that are no options.
type doFunc func(ctx context.Context, std *stdio, args []string) error

// A command is one of kcp's. Help, man page and completions come from this table, and from the options
// that setup declares.
type command struct {
	name  string
	usage []string // what follows the name, one for each way to use it
	short string   // one line
	long  string   // paragraphs
	words []string // what its first argument may be, if that is one of a few words
	setup func(fs *flag.FlagSet) doFunc
}

// commands returns the table. It is a function as help is in it and reads it.
func commands() []*command {
	return []*command{perfCommand, pingCommand, forwardCommand, explainCommand, keyCommand, helpCommand()}
}

func find(name string) *command {
	if name == "h" {
		name = "help"
	}
	for _, c := range commands() {
		if c.name == name {
			return c
		}
	}
	return nil
}

// flagSet returns the command's options, and what runs it with them.
func (c *command) flagSet() (*flag.FlagSet, doFunc) {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are one line, and report prints it
	return fs, c.setup(fs)
}

// one returns the only argument.
func one(args []string, what string) (string, error) {
	switch len(args) {
	case 1:
		return args[0], nil
	case 0:
		return "", usagef("%s is missing", what)
	}
	return "", usagef("unexpected argument %q", args[1])
}

func none(args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q", args[0])
	}
	return nil
}
