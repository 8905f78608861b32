"""Is it the start or the shortcut that plain nets lack?"""
