"""What do the gates of a highway network do while it trains?"""
