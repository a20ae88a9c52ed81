package soak

import (
	"fmt"
	"slices"
	"strings"
)

// A minimised case fails with as little as that takes.
type minimised struct {
	Case
	result Result
	runs   int
}

// minimise leaves out of the case, one by one, what it fails without: features, clients and time.
func (c Case) minimise() minimised {
	m := minimised{Case: c}
	m.result, m.runs = c.inProcess(), 1
	if len(m.result.Failures) == 0 {
		return m // it is not of the seed alone
	}
	for smaller := true; smaller; {
		smaller = false
		for _, f := range m.all() {
			try := m.Case
			try.Without = append(slices.Clone(m.Without), f)
			smaller = m.try(try) || smaller
		}
		for _, slots := range []int{1, m.slots() / 2} {
			try := m.Case
			try.Slots = slots
			smaller = slots > 0 && slots < m.slots() && m.try(try) || smaller
		}
		try := m.Case
		try.Minutes = m.length().Minutes() / 2
		smaller = try.Minutes > 1 && m.try(try) || smaller
	}
	return m
}

// try makes c the case if it fails, too.
func (m *minimised) try(c Case) bool {
	r := c.inProcess()
	m.runs++
	if len(r.Failures) == 0 {
		return false
	}
	m.Case, m.result = c, r
	return true
}

func (m minimised) report() {
	if len(m.result.Failures) == 0 {
		fmt.Printf("case %d did not fail again\n", m.Index)
		return
	}
	fmt.Printf("minimised in %d runs: %s, which has %v\n%s\n", m.runs, m.flags(), m.all(), strings.Join(m.result.Failures, "\n"))
}
