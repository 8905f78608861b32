"""Many narrow layers or few wide ones, at the same cost?"""
