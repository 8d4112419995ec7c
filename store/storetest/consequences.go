package storetest

func consequenceTests() []test { return nil }
