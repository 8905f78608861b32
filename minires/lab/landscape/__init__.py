"""What does the loss look like around the trained weights?"""
