"""Do plain networks get worse with depth, and do residual ones not?"""
